from __future__ import annotations

import pytest

from .notebook import FarProcess, same_as_local

CASES = {
"list_alias": ["a=[1]; h={'k':a}; b=a\ndef f(x=a): return x", "%%remote\na.append(2)"],
"dict_order": ["d={'a':1,'b':2}; h=[d]", "%%remote\nv=d.pop('a'); d['c']=3; d['a']=v"],
"inst": ["class C:\n    def __init__(s): s.x=[1]\nc=C(); l=[c]; x=c.x", "%%remote\nc.y=1; c.x.append(c); del c.y; c.z=c"],
"slots": ["class C:\n    __slots__=('a','b')\nclass D(C):\n    __slots__=('c','__dict__')\nd=D(); d.a=[1]; l=[d]", "%%remote\nd.b=d.a; del d.a; d.q=3"],
"tuple_ns": ["import collections\nP=collections.namedtuple('P','x y'); p=P([1],2); q=p", "%%remote\np.x.append(3); r=p"],
"closure": ["def mk():\n    n=0\n    def inc():\n        nonlocal n\n        n+=1\n        return n\n    def get(): return n\n    return inc,get\ninc,get=mk()", "%%remote\ninc(); inc()", "v=get()", "%%remote\ninc()", "w=get()"],
"reccl": ["def mk():\n    def f(n): return 1 if n==0 else n*f(n-1)\n    return f\nf=mk()", "%%remote\nr=f(5); f.attr=[1]"],
"deco": ["import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(*a,**k):\n        w.calls+=1\n        return f(*a,**k)\n    w.calls=0\n    return w\n@deco\ndef g(x,*,y=[1]): return x", "%%remote\ng(1); g(2); g.__wrapped__.__kwdefaults__['y'].append(2)"],
"nd": ["import numpy as np\na=np.arange(20.); v=a[2:10:2]; r=a[::-1]; h=[a,v]", "%%remote\nv[:]=-1; a[0]=9"],
"ndlone": ["import numpy as np\na=np.arange(4_000_000.); v=a[2:10]; w=a[20:30:3]; c=a[::1000]; k=np.arange(12.).reshape(3,4)[:,::2]", "%%remote\nv[0]=-1", "%%remote\nw[1]=-5; c[2]=7; k[1]=3", "s=a[:40].tolist(); t=a[2000]", "%%remote\na[3]=11", "u=v[1]", "%%remote\na[4]=12;v[3]=13;o=v[2]"],
"ndobj": ["import numpy as np\nl=[1]; a=np.array([l,{},None],object); b=a[:2]", "%%remote\na[0].append(2); a[2]=a[0]"],
"dtypes": ["import numpy as np\nA=[np.zeros(3,t) for t in '?bBhHiIlLefdgFDGSUV']+[np.array(['2020','2021'],'M8[D]'),np.array([1],'m8[s]'),np.array(3.0),np.zeros((0,3)),np.asfortranarray(np.arange(6).reshape(2,3)),np.zeros(2,[('a','i4'),('b','f8',(2,))]),np.zeros(2,[('o',object)]),np.array(['ab','c']),np.arange(3).astype('>i4')]\nB=list(A)\nA[4].flags.writeable=False", "%%remote\nfor x in A:\n    if x.flags.writeable and x.dtype.kind in 'fiuc' and x.size: x[...]=1\nA[-4]['b'][0]=3"],
"masked": ["import numpy as np\nm=np.ma.array([1,2,3.],mask=[0,1,0]); n=m; h={'m':m}", "%%remote\nm[0]=5; m[2]=np.ma.masked"],
"matrix": ["import numpy as np\nm=np.matrix([[1,2],[3,4]]); h=[m]\nclass A(np.ndarray): pass\na=np.arange(3.).view(A); a.info='x'; b=[a]", "%%remote\nm[0,0]=5; a[1]=7; a.info='y'"],
"torch": ["import torch\nt=torch.arange(6.).reshape(2,3); v=t[0]; tt=t.T; h=[t]", "%%remote\nt+=1; v.mul_(2)"],
"torch_np": ["import torch,numpy as np\na=np.arange(6.); t=torch.from_numpy(a); b=t.numpy(); u=torch.ones(3); un=u.numpy()", "%%remote\na[0]=5; t[1]=6; u[0]=9"],
"torch_par": ["import torch\ntorch.manual_seed(1)\nl1=torch.nn.Linear(3,3); l2=torch.nn.Linear(3,3); l2.weight=l1.weight; m=torch.nn.Sequential(l1,l2); w=l1.weight; opt=torch.optim.Adam(m.parameters()); g=torch.Generator().manual_seed(4)", "%%remote\ntorch.manual_seed(0)\nloss=m(torch.ones(2,3)).sum(); loss.backward(); opt.step(); loss=loss.item(); gr=torch.rand(2,generator=g)", "%%remote\nopt.zero_grad(set_to_none=True); m(torch.ones(2,3)).sum().backward(); opt.step()", "k=[opt.param_groups[0]['params'][0] is w, l2.weight is w]"],
"pandas": ["import pandas as pd, numpy as np\ndf=pd.DataFrame({'a':[1,2,3],'s':['x','y',None],'c':pd.Categorical(['p','q','p'])}); o=df; s=df['a']; h={'d':df}; ix=df.index; mi=pd.MultiIndex.from_product([[1,2],['a','b']])", "%%remote\ndf['b']=df.a*2; df.loc[0,'a']=99; df.attrs['k']=1", "%%remote\ndf.drop(columns='b',inplace=True); df.rename(columns={'a':'z'},inplace=True); mi2=mi"],
"exc": ["e=ValueError('x',[1])\ne.add_note('n'); e.__cause__=KeyError('c'); e.z=[1]; h=[e]\nclass E(Exception):\n    def __init__(s,a,b):\n        super().__init__('m'); s.a=a; s.b=b\nx=E(1,2)", "%%remote\ne.z.append(2); e.args=(1,); x.a=5; e.q=1"],
"rand": ["import random, numpy as np\nr=random.Random(1); g=np.random.default_rng(2); rs=np.random.RandomState(3); h=[r,g,rs]", "%%remote\na=r.random(),g.random(),rs.rand()", "b=r.random(),g.random(),rs.rand()", "%%remote\nc=r.random(),g.random(),rs.rand()"],
"stringio": ["import io\ns=io.StringIO('abc'); b=io.BytesIO(b'xyz'); h=[s,b]", "%%remote\ns.seek(0,2); s.write('d'); b.read(1)", "v=s.getvalue(),s.tell(),b.tell()"],
"partial": ["import functools\nl=[1]\ndef f(a,b): return a\np=functools.partial(f,l); h=[p]", "%%remote\np.x=1; p.args[0].append(2); q=p(3) is l"],
"lru": ["import functools\n@functools.lru_cache\ndef fib(n): return n if n<2 else fib(n-1)+fib(n-2)\nh=[fib]", "%%remote\nx=fib(30)"],
"sd": ["import functools\n@functools.singledispatch\ndef f(x): return 'o'\n@f.register\ndef _(x:int): return 'i'\n", "%%remote\n@f.register(str)\ndef _s(x): return 's'\nr=f(1),f('a'),f([])", "q=f(1),f('a'),f([])"],
"cprop": ["import functools\nclass C:\n    @functools.cached_property\n    def p(self): return [1]\nc=C()", "%%remote\nq=c.p", "r=c.p is q"],
"weak": ["import weakref\nclass C: pass\nc=C(); w=weakref.ref(c); wd=weakref.WeakValueDictionary(a=c); ws=weakref.WeakSet([c])", "%%remote\nc.x=1; o=w() is c, wd['a'] is c, c in ws", "z=w() is c, wd['a'] is c, c in ws"],
"iters": ["import itertools\nl=[1,2,3,4]; it=iter(l); next(it); m=map(str,it); z=zip(l,it); c=itertools.count(3); e=enumerate(l); r=iter(range(5)); h=[it,m,z,c,e,r]", "%%remote\na=next(it),next(m),next(c),next(e),next(r)", "b=next(it),next(c),next(e),next(r)", "%%remote\nd=list(it),next(c),next(e)"],
"misc": ["import datetime,decimal,pathlib,uuid,re,fractions\nv=[datetime.datetime(2020,1,1),decimal.Decimal('1.5'),pathlib.Path('/x'),uuid.UUID(int=3),re.compile('a+'),fractions.Fraction(1,3),datetime.timezone.utc]; h=list(v); x=v[1]", "%%remote\nv.append(v[0]); y=v[1]"],
"typing": ["import typing\nT=typing.TypeVar('T'); U=typing.NewType('U',int); PS=typing.ParamSpec('PS')\nclass B(typing.Generic[T]):\n    def __init__(s,x:T): s.x=x\nclass Pr(typing.Protocol):\n    def f(self)->int: ...\nb=B[int](3); al=list[B]; op=typing.Optional[B]", "%%remote\nb.x=4; i=isinstance(b,B); c=U(3); bb=B[str]('q')"],
"dc": ["import dataclasses as D\n@D.dataclass(frozen=True)\nclass P:\n    x:int=0\n    y:list=D.field(default_factory=list)\n@D.dataclass(slots=True)\nclass S:\n    a:int=1\n    b:list=None\np=P(1); s=S(2,[p]); h=[p,s]", "%%remote\np.y.append(1); s.a=5; f=[x.name for x in D.fields(p)]; q=D.replace(p,x=9)\n@D.dataclass\nclass Q(P.__mro__[-1]):\n    k:int=1\n", "r=[x.name for x in D.fields(P)], D.asdict(p)"],
"enum": ["import enum\nclass C(enum.Enum):\n    A=1\n    B=[2]\nclass F(enum.Flag):\n    X=1\n    Y=2\nc=C.A; f=F.X|F.Y; h={C.B:1}", "%%remote\nd=C.B; o=c is C.A, f==F.X|F.Y", "p=d is C.B, c is C.A, C(1) is c"],
"meta": ["class M(type):\n    def __call__(cls,*a):\n        o=super().__call__(*a); o.tag=cls.__name__; return o\nclass K(metaclass=M): n=0\nk=K()\nimport abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\nclass B(A):\n    def f(self): return 1\nb=B()", "%%remote\nK.n+=1; k2=K(); K.m=[1]; B.g=lambda s: 3; r=isinstance(b,A)", "q=b.g(),K.n,type(k2) is K"],
"prop": ["class C:\n    @property\n    def p(self): return self._p\n    @p.setter\n    def p(self,v): self._p=v\n    @classmethod\n    def c(cls): return cls\n    @staticmethod\n    def s(): return 1\nclass De:\n    def __get__(s,o,t): return 7\nc=C(); c.p=1", "%%remote\nc.p=2; r=C.c() is C, C.s(); C.d=De()", "q=c.p,c.d"],
"redef": ["class C:\n    def f(s): return 1\nc=C()", "%%remote\na=c.f()", "class C:\n    def f(s): return 2\nd=C()", "%%remote\nb=c.f(),d.f(),type(c) is C", "%%remote\nclass C:\n    def f(s): return 3\nc.__class__=C", "e=c.f(), type(c) is C, type(d) is C"],
"selfref": ["l=[1]; l.append(l); d={}; d['d']=d\nclass C: pass\nc=C(); c.c=c; t=([],); t[0].append(t)", "%%remote\nl.append(2); d['e']=l; c.l=l; t[0].append(3)"],
"deep": ["class N:\n    def __init__(s,v,n): s.v=v; s.n=n\nh=None\nfor i in range(20000): h=N(i,h)\nl=h", "%%remote\nh.v=-1; x=h.n.n.v; h.n.n.v=8", "y=l.v,l.n.n.v; h=l=None"],
"deeplist": ["l=[]\nq=l\nfor i in range(20000):\n    l.append([]); l=l[0]\n", "%%remote\nq.append(1)", "r=q[1]; q=l=None"],
"gs": ["class C:\n    def __init__(s): s.a=[1]; s.b=2\n    def __getstate__(s): return {'a':s.a,'b':s.b}\n    def __setstate__(s,st): s.__dict__.update(st); s.set=True\nclass R:\n    def __init__(s,x): s.x=x\n    def __reduce__(s): return R,(s.x,)\nc=C(); c.set=True; r=R([1]); h=[c,r]; a=c.a", "%%remote\nc.a.append(2); c.b=3; r.x.append(5); r.x=[r.x]"],
"mono": ["class C:\n    def f(s): return 1\nc=C()", "%%remote\nC.f=lambda s: 2\nc.g=lambda: 5\nimport types\nc.h=types.MethodType(lambda s: s, c)", "q=c.f(),c.g(),c.h() is c"],
"attrdict": ["class AD(dict):\n    def __init__(s,**k): super().__init__(**k); s.__dict__=s\nd=AD(a=1); e=d\nclass O: pass\no=O(); vd=vars(o)", "%%remote\nd.b=2; o.x=1; vd['y']=2", "q=d['b'],vd['x'],o.y"],
"sub": ["import collections\nclass L(list): pass\nclass D(dict): pass\nclass S(set): pass\nclass Q(collections.deque): pass\nclass DD(collections.defaultdict): pass\nclass OD(collections.OrderedDict): pass\nl=L([1]); d=D(a=1); s=S([1]); q=Q([1],maxlen=5); dd=DD(list); od=OD(a=1,b=2); l.x=1; h=[l,d,s,q,dd,od]; dq=collections.deque([1,2],maxlen=2); cnt=collections.Counter('aab')", "%%remote\nl.append(2); l.y=[l]; d['b']=2; d.z=1; s.add(2); q.append(2); dd['x'].append(1); od.move_to_end('a'); dq.append(3); cnt['z']+=1"],
"asyncgen": ["async def co(x): return x\ndef gen(n):\n    yield from range(n)\nasync def ag():\n    yield 1\nl=[co,gen,ag,lambda x:x+1]", "%%remote\nimport asyncio\nr=list(gen(3)),l[3](1),asyncio.new_event_loop().run_until_complete(co(5))"],
"annot": ["from __future__ import annotations\nclass Z: pass\ndef f(a: Z, b: 'int'=3) -> list[Z]: return a\n", "%%remote\nr=f(1); t=f.__annotations__", "q=t==f.__annotations__"],
"scipy": ["import scipy.sparse as sp, numpy as np\nm=sp.csr_matrix(np.eye(3)); d=m.data; c=sp.coo_array(np.eye(2)); h=[m,c]", "%%remote\nm.data[0]=5; m[1,1]=7; c.data[0]=3", "q=m.toarray().tolist(), c.toarray().tolist(), d.tolist()"],
"pil": ["from PIL import Image\ni=Image.new('RGB',(4,4)); h=[i]", "%%remote\ni.putpixel((0,0),(1,2,3))", "q=h[0].getpixel((0,0))"],
"sk": ["from sklearn.linear_model import LogisticRegression\nfrom sklearn.ensemble import RandomForestClassifier\nfrom sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\nimport numpy as np\nX=np.arange(20.).reshape(10,2); y=(np.arange(10)>4).astype(int); m=make_pipeline(StandardScaler(),LogisticRegression()); rf=RandomForestClassifier(5,random_state=0); h=[m,rf]; st=m.steps[1][1]", "%%remote\nm.fit(X,y); rf.fit(X,y)", "q=m.predict(X).tolist(), h[0].score(X,y), rf.predict(X).tolist(), hasattr(st,'coef_')", "%%remote\nr=rf.score(X,y)"],
"arrow": ["import pyarrow as pa\nt=pa.table({'a':[1,2],'s':['x',None]}); u=t; h=[t]", "%%remote\nv=t.append_column('z',[[1,2]]); same=t"],
"libclosure": ["import functools, operator\nclass C:\n    @functools.singledispatchmethod\n    def f(s,x): return 'o'\n    @f.register\n    def _(s,x:int): return 'i'\n    @functools.total_ordering\n    class O:\n        def __init__(s,x): s.x=x\n        def __eq__(s,o): return s.x==o.x\n        def __lt__(s,o): return s.x<o.x\nc=C(); ig=operator.itemgetter(1); ag=operator.attrgetter('x')", "%%remote\nr=c.f(1),c.f('x'),C.O(1)>C.O(0),ig([1,2])"],
"ctx": ["import contextlib\n@contextlib.contextmanager\ndef cm():\n    yield 5\n", "%%remote\nwith cm() as x: pass", "with cm() as y: pass"],
"ba": ["import array\nb=bytearray(b'abc'); m=memoryview(b); a=array.array('d',[1,2]); h=[b,a]\nimport numpy as np\nf=np.frombuffer(b,np.uint8)", "%%remote\nb[0]=65; a[0]=9; a2=bytes(m)", "q=bytes(m), f.tolist(), b, a"],
"mproxy": ["import types\nd={'a':[1]}; mp=types.MappingProxyType(d); ns=types.SimpleNamespace(x=[1]); ns2=ns", "%%remote\nd['a'].append(2); ns.y=ns.x; ns.x.append(3)", "q=mp['a'] is d['a']"],
"bm": ["import random\nl=[1]; ap=l.append; r=random.Random(3); rr=r.random; j=', '.join", "%%remote\nap(2); x=rr(); l2=l", "y=r.random(),ap.__self__ is l"],
"ident": ["a=[1]; b=(a,); c=frozenset([1]); d={'x':b}; s='q'*20000; e=[s]", "%%remote\nn=(a,b,s); m=n[2] is s", "z=n[0] is a, n[1] is b, n[2] is s, e[0] is s"],
"sentinel": ["S=object(); l=[S]\nimport dataclasses\nM=dataclasses.MISSING", "%%remote\nr=S; g=M is dataclasses.MISSING; l.append(S)", "q=r is S, M is dataclasses.MISSING"],
"inherit": ["class A:\n    def f(s): return 'a'\nclass B(A):\n    def f(s): return 'b'+super().f()\nclass Cc(B,dict):\n    pass\nc=Cc(); c['x']=1; c.y=2", "%%remote\nr=c.f(); c['z']=c; A.q=5", "w=c.f(), c.q"],
}

@pytest.mark.parametrize("name", sorted(CASES))
def test_case(far: FarProcess, name: str) -> None:
    n = same_as_local(far, *CASES[name])
    if n.replaced: print("REPLACED", [(type(o), type(b)) for o, b in n.replaced])
    if n.stayed: print("STAYED", n.stayed)
    if n.lost: print("LOST", n.lost)
