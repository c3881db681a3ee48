"""The half of the visitor that walks statements: paths, loops, handlers, definitions."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from cellferry.capture.expressions import Expressions
from cellferry.capture.names import Settled, fork, join
from cellferry.capture.scopes import class_frame, function_frame, types_frame

# Decorators that keep what they decorate for later and do not call it.
_PATIENT = frozenset([
    "abstractmethod", "asynccontextmanager", "cache", "cached_property", "classmethod", "compile", "contextmanager",
    "dataclass", "delayed", "deleter", "final", "getter", "inference_mode", "jit", "lru_cache", "njit", "no_grad",
    "overload", "override", "property", "register", "runtime_checkable", "setter", "singledispatch", "staticmethod",
    "total_ordering", "vectorize", "wraps",
])
_SWALLOWING = ("suppress", "ignor", "raises", "catch", "swallow", "exitstack", "try", "attempt")
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class _Loop:
    """The states in which a loop is left by ``break`` and in which a round ends by ``continue``."""

    breaks: list[Settled] = field(default_factory=list)
    continues: list[Settled] = field(default_factory=list)


class Statements(Expressions):
    """Walks a whole cell."""

    def run(self, tree: ast.Module) -> None:
        """Walk a cell; ``names`` and the attributes say what was found."""
        self._loops: list[_Loop] = []
        self.each(tree.body)
        self.names.finish()

    # ---- binding ----------------------------------------------------------------------------------------------------

    def _assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Lambda) and all(isinstance(target, ast.Name) for target in node.targets):
            body = self.lambda_body(node.value)
            self.each(node.targets)
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.names.define(target.id, body)
            return
        self.visit(node.value)
        self.each(node.targets)

    def _aug_assign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.names.load(node.target.id)
            self.visit(node.value)
            self.names.store(node.target.id)
        else:
            self.visit(node.target)
            self.visit(node.value)

    def _ann_assign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)
        # Inside a function, the annotation of a plain name is never looked at.
        if not (self.names.in_function and isinstance(node.target, ast.Name)):
            self.annotation(node.annotation)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imports.add(alias.name)
            self.names.store(alias.asname or alias.name.partition(".")[0])

    def _import_from(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        self.imports.add(module)
        for alias in node.names:
            if alias.name == "*":
                self.star_imports.add(module)
                self.names.open = True
                continue
            if module == "__main__":
                self.names.load(alias.name)
            self.imports.add(f"{module}.{alias.name}")
            self.names.store(alias.asname or alias.name)

    def _type_alias(self, node: ast.AST) -> None:
        # `type X[T] = ...` (3.12): the value is evaluated when somebody asks for it.
        frame = types_frame(node, self.names.frames[-1].private)
        if frame is not None:
            self.names.frames.append(frame)
        self.annotation(node.value)  # type: ignore[attr-defined]
        self._type_parameters(node)
        if frame is not None:
            self.names.frames.pop()
        self.visit(node.name)  # type: ignore[attr-defined]

    # ---- functions and classes --------------------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        names, arguments = self.names, node.args
        self.each(node.decorator_list)
        self.each((*arguments.defaults, *arguments.kw_defaults))
        frame = types_frame(node, names.frames[-1].private)
        if frame is not None:
            names.frames.append(frame)
            self._type_parameters(node)
        for argument in (*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs,
                         arguments.kwarg):
            self.annotation(argument and argument.annotation)
        self.annotation(node.returns)
        saved = names.begin_body(function_frame(node, names.frames[-1].private))
        loops, self._loops = self._loops, []
        self._block(node.body)
        self._loops = loops
        body = names.end_body(saved)
        if frame is not None:
            names.frames.pop()
        self._define(node, body)

    def _class(self, node: ast.ClassDef) -> None:
        names = self.names
        self.each(node.decorator_list)
        types = types_frame(node, names.frames[-1].private)
        if types is not None:
            names.frames.append(types)
            self._type_parameters(node)
        self.each(node.bases)
        self.each(keyword.value for keyword in node.keywords)
        names.begin_class()
        names.frames.append(class_frame(node, names.number()))
        if names.settled is not None:
            number = names.frames[-1].number
            names.settled |= {(number, "__module__"), (number, "__qualname__")}
        self._block(node.body)
        names.frames.pop()
        body = names.end_class()
        if types is not None:
            names.frames.pop()
        self._define(node, body)

    def _define(self, node: _Definition, body: Collection[str]) -> None:
        if not all(_last_word(decorator) in _PATIENT for decorator in node.decorator_list):
            self.names.run(body)
        self.names.store(node.name)
        self.names.define(node.name, body)

    def _type_parameters(self, node: ast.AST) -> None:
        for parameter in node.type_params:  # type: ignore[attr-defined]
            self.annotation(getattr(parameter, "bound", None))
            self.annotation(getattr(parameter, "default_value", None))

    def _block(self, body: Sequence[ast.stmt]) -> None:
        """Statements whose first may be a docstring, which names no file."""
        first = body[0]
        documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        self.each(body[1:] if documented else body)

    # ---- paths ------------------------------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        self.visit(node.test)
        self.branches([node.body, node.orelse])

    def _leave(self, node: ast.AST) -> None:
        self.children(node)
        self.names.settled = None

    def _break(self, node: ast.Break) -> None:
        if self._loops:
            self._loops[-1].breaks.append(self.names.settled)
        self.names.settled = None

    def _continue(self, node: ast.Continue) -> None:
        if self._loops:
            self._loops[-1].continues.append(self.names.settled)
        self.names.settled = None

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = fork(self.names.settled)
        end, loop = self._rounds([node.target, *node.body])
        # Without a round nothing is bound; `range(10)` surely makes one.
        exhausted = join(end, *loop.continues) if _has_a_round(node.iter) else before
        self._after_loop(exhausted, node.orelse, loop)

    def _while(self, node: ast.While) -> None:
        self.visit(node.test)
        before = fork(self.names.settled)
        _, loop = self._rounds(node.body)
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._after_loop(None if forever else before, node.orelse, loop)

    def _rounds(self, nodes: Sequence[ast.AST]) -> tuple[Settled, _Loop]:
        names, loop = self.names, _Loop()
        certain, names.certain = names.certain, False
        self._loops.append(loop)
        self.each(nodes)
        self._loops.pop()
        names.certain = certain
        return names.settled, loop

    def _after_loop(self, exhausted: Settled, orelse: Sequence[ast.stmt], loop: _Loop) -> None:
        self.names.settled = exhausted
        certain, self.names.certain = self.names.certain, False
        self.each(orelse)
        self.names.certain = certain
        self.names.settled = join(self.names.settled, *loop.breaks)

    def _try(self, node: ast.Try) -> None:
        names = self.names
        certain, before = names.certain, fork(names.settled)
        # With a handler, the rest of the body is not reached if anything in it fails.
        names.certain = certain and not node.handlers
        self.each(node.body)
        names.certain = False
        self.each(node.orelse)
        ends = [names.settled]
        for handler in node.handlers:
            names.settled = fork(before)
            self.visit(handler)
            ends.append(names.settled)
        names.certain, after = certain, join(*ends)
        if not node.finalbody:
            names.settled = after
            return
        names.settled = fork(before)
        self.each(node.finalbody)
        names.settled = None if after is None or names.settled is None else after | names.settled

    def _handler(self, node: ast.ExceptHandler) -> None:
        self.each([node.type])
        if node.name:
            self.names.lend(node.name)
        self.each(node.body)
        if node.name:
            self.names.unbind(node.name)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        names = self.names
        certain = names.certain
        for item in node.items:
            self.visit(item.context_expr)
            # `with output:` may show an exception and go on; a call that swallows says so by its name.
            if not isinstance(item.context_expr, ast.Call):
                names.certain = False
            self.each([item.optional_vars])
        words = [_last_word(item.context_expr).lower() for item in node.items]
        if any(part in word for part in _SWALLOWING for word in words):
            self.perhaps(node.body)
        else:
            before = fork(names.settled)
            self.each(node.body)
            if names.settled is None:  # an exception for sure, which only the context manager can have taken
                names.settled, certain = before, False
            elif before is not None:
                names.doubtful |= {key for key in names.settled - before if type(key) is str}
        names.certain = certain

    def _match(self, node: ast.Match) -> None:
        names = self.names
        self.visit(node.subject)
        certain, names.certain = names.certain, False
        before, ends = names.settled, []
        for case in node.cases:
            names.settled = fork(before)
            self.visit(case.pattern)
            self.each([case.guard])
            self.each(case.body)
            ends.append(names.settled)
        if not any(case.guard is None and _takes_anything(case.pattern) for case in node.cases):
            ends.append(before)
        names.certain, names.settled = certain, join(*ends)

    def _pattern(self, node: ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
        self.children(node)
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self.names.store(name)

    def _assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.perhaps([node.msg])

    def _nothing(self, node: ast.AST) -> None:
        """``global`` and ``nonlocal`` were read with their scope."""


def _last_word(node: ast.AST) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _has_a_round(node: ast.AST) -> bool:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return any(not isinstance(element, ast.Starred) for element in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        last = node.args[0]
        return len(node.args) == 1 and isinstance(last, ast.Constant) and type(last.value) is int and last.value > 0
    return False


def _takes_anything(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _takes_anything(pattern.pattern))


_H = Statements
Statements.handlers = {
    **Expressions.handlers,
    ast.Assign: _H._assign, ast.AugAssign: _H._aug_assign, ast.AnnAssign: _H._ann_assign, ast.Import: _H._import,
    ast.ImportFrom: _H._import_from, ast.FunctionDef: _H._function, ast.AsyncFunctionDef: _H._function,
    ast.ClassDef: _H._class, ast.If: _H._if, ast.Raise: _H._leave, ast.Return: _H._leave, ast.Break: _H._break,
    ast.Continue: _H._continue, ast.For: _H._for, ast.AsyncFor: _H._for, ast.While: _H._while, ast.Try: _H._try,
    ast.ExceptHandler: _H._handler, ast.With: _H._with, ast.AsyncWith: _H._with, ast.Match: _H._match,
    ast.MatchAs: _H._pattern, ast.MatchStar: _H._pattern, ast.MatchMapping: _H._pattern, ast.Assert: _H._assert,
    ast.Global: _H._nothing, ast.Nonlocal: _H._nothing,
}
# Added to the language after 3.10, by name, so that one source serves every version.
for _added, _handler in (("TryStar", _H._try), ("TypeAlias", _H._type_alias)):
    if hasattr(ast, _added):
        Statements.handlers[getattr(ast, _added)] = _handler
