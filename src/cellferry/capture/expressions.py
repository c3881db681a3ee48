"""The half of the visitor that walks expressions; ``statements`` builds on it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from cellferry.capture import magics
from cellferry.capture.names import Names, fork, join
from cellferry.capture.scopes import (
    COMPREHENSIONS,
    Frame,
    Kind,
    bind_names,
    comprehension_frame,
    elements,
    function_frame,
)
from cellferry.capture.unseen import LOOKS_UP, identifiers

ParseNested = Callable[[str, int], ast.Module]
"""Text in IPython's syntax and the cell's line before it, to a tree; raises SyntaxError or ValueError."""

# Attributes of the shell that reach its whole namespace.
_NAMESPACE = frozenset({"user_ns", "user_global_ns", "user_module", "run_cell", "run_cell_async", "safe_execfile"})
_SHELL_ONLY = frozenset({"ev", "ex", "push", "drop_by_id", "del_var"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


class Expressions:
    """Walks expressions in the order in which Python evaluates them and tells ``names`` what each does."""

    handlers: ClassVar[dict[type[ast.AST], Callable[[Any, Any], None]]] = {}

    def __init__(self, names: Names, parse_nested: ParseNested) -> None:
        self.names = names
        self.imports: set[str] = set()
        self.star_imports: set[str] = set()
        self.dynamic = False
        self.strings: dict[str, None] = {}
        self.fragments: dict[str, None] = {}
        self.hints: set[str] = set()
        self.attributes: set[str] = set()
        self._parse_nested = parse_nested
        self._in_annotation = False

    def visit(self, node: ast.AST) -> None:
        """Walk one node of any sort."""
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(self, node)
        else:
            self.children(node)

    def each(self, nodes: Iterable[ast.AST | None]) -> None:
        """Walk several nodes in order."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    def perhaps(self, nodes: Iterable[ast.AST | None]) -> None:
        """Walk nodes that may not be evaluated at all."""
        names = self.names
        certain, before = names.certain, fork(names.settled)
        names.certain = False
        self.each(nodes)
        names.certain, names.settled = certain, join(before, names.settled)

    def children(self, node: ast.AST) -> None:
        """Walk what ``node`` consists of, in the order of its fields."""
        fields = _FIELDS.get(type(node))
        if fields is None:
            fields = _FIELDS[type(node)] = tuple(f for f in node._fields if f not in ("ctx", "op", "ops", "kind"))
        for field in fields:
            value = getattr(node, field, None)
            if type(value) is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item)
            elif isinstance(value, ast.AST):
                self.visit(value)

    # ---- names and literals -----------------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> None:
        context = type(node.ctx)
        if context is ast.Load:
            self.names.load(node.id)
            # Passing them on is as good as calling them.
            if node.id in ("globals", "exec", "eval") and self.names.is_builtin(node.id):
                self._whole_namespace()
        elif context is ast.Store:
            self.names.store(node.id)
        else:
            self.names.delete(node.id)

    def _constant(self, node: ast.Constant) -> None:
        if type(node.value) is str:
            if self._in_annotation:
                self._text(node.value)
            else:
                self.strings[node.value] = None

    def _joined(self, node: Any) -> None:
        self.fragments.update((str(part.value), None) for part in node.values if isinstance(part, ast.Constant))
        self.each(value for value in node.values if not isinstance(value, ast.Constant))

    def annotation(self, node: ast.AST | None) -> None:
        """Walk an annotation: it may be evaluated now, later by name, or never, and so may the strings in it."""
        if node is None:
            return
        saved, self._in_annotation = self._in_annotation, True
        self.perhaps([node])
        self._in_annotation = saved

    def _subscript(self, node: ast.Subscript) -> None:
        literal = self._in_annotation and _last_word(node.value) == "Literal"
        self.visit(node.value)
        if not literal:
            self.visit(node.slice)

    # ---- evaluation that may stop early -----------------------------------------------------------------------------

    def _bool_op(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self.perhaps(node.values[1:])

    def _compare(self, node: ast.Compare) -> None:
        self.visit(node.left)
        self.visit(node.comparators[0])
        if len(node.comparators) > 1:
            self.perhaps(node.comparators[1:])

    def _if_exp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.branches([[node.body], [node.orelse]])

    def branches(self, alternatives: Iterable[Iterable[ast.AST]]) -> None:
        """Walk alternatives of which exactly one is taken."""
        names = self.names
        certain, before, ends = names.certain, names.settled, []
        names.certain = False
        for nodes in alternatives:
            names.settled = fork(before)
            self.each(nodes)
            ends.append(names.settled)
        names.certain, names.settled = certain, join(*ends)

    def _bin_op(self, node: ast.BinOp) -> None:
        # `a + b + c + ...` leans to the left as deep as it is long: walked by a loop, not by the stack.
        rights: list[ast.AST] = []
        left: ast.AST = node
        while isinstance(left, ast.BinOp):
            rights.append(left.right)
            left = left.left
        self.visit(left)
        self.each(reversed(rights))

    def _named(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.names.store(node.target.id, walrus=True)

    # ---- scopes inside expressions ----------------------------------------------------------------------------------

    def _lambda(self, node: ast.Lambda) -> None:
        self.names.run(self.lambda_body(node))

    def lambda_body(self, node: ast.Lambda) -> set[str]:
        """Walk the defaults now; what the body reads when it is called."""
        self.each((*node.args.defaults, *node.args.kw_defaults))
        saved = self.names.begin_body(function_frame(node, self.names.frames[-1].private))
        self.visit(node.body)
        return self.names.end_body(saved)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        names = self.names
        self.visit(node.generators[0].iter)
        names.frames.append(comprehension_frame(node.generators, names.frames[-1].private))
        certain, before = names.certain, fork(names.settled)
        names.certain = False
        for position, generator in enumerate(node.generators):
            if position:
                self.visit(generator.iter)
            self.visit(generator.target)
            self.each(generator.ifs)
        self.each(elements(node))
        names.frames.pop()
        names.certain, names.settled = certain, join(before, names.settled)

    # ---- calls ------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id in _BUILTINS and self.names.is_builtin(function.id) and self._builtin(function.id, node):
                return
        elif isinstance(function, ast.Attribute):
            if self._ipython(function, node):
                return
            if function.attr in LOOKS_UP:
                self._query(node)
            elif function.attr == "import_module":
                self._import_by_text(node)
        self.visit(function)
        self.each(node.args)
        self.each(keyword.value for keyword in node.keywords)

    def _builtin(self, name: str, node: ast.Call) -> bool:
        """A call of one of Python's functions that look at namespaces; whether it has been walked."""
        if name in ("eval", "exec"):
            text = node.args[0] if node.args else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                self._text(text.value, statements=name == "exec")
            self.names.load(name)
            self.each(node.args)
            self.each(keyword.value for keyword in node.keywords)
            if len(node.args) + len(node.keywords) == 1 and not isinstance(text, ast.Constant):
                self._whole_namespace()
            # Even with a namespace of its own it may reach this one.
            self.names.open = True
            return True
        if name == "__import__":
            self._import_by_text(node)
        elif not node.args and (name == "globals" or not self.names.in_function):
            self._whole_namespace()
        return False

    def _import_by_text(self, node: ast.Call) -> None:
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            self.imports.add(node.args[0].value)

    def _whole_namespace(self) -> None:
        self.dynamic = True
        self.names.open = True

    def _query(self, node: ast.Call) -> None:
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            for part in ast.walk(argument):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    self.hints.update(identifiers(part.value))

    def _text(self, text: str, statements: bool = False) -> None:
        """Walk Python that is given as text and may be evaluated."""
        try:
            tree = ast.parse(text, mode="exec" if statements else "eval")
        except (SyntaxError, ValueError):
            return
        self.perhaps(tree.body if isinstance(tree, ast.Module) else [tree])

    # ---- IPython ----------------------------------------------------------------------------------------------------

    def attribute(self, node: ast.Attribute) -> None:
        """Walk an attribute; some of the shell's reach the whole namespace."""
        self.attributes.add(node.attr)
        if node.attr in _NAMESPACE or (node.attr in _SHELL_ONLY and _is_shell(node.value)):
            self._whole_namespace()
        self.visit(node.value)

    def _ipython(self, function: ast.Attribute, node: ast.Call) -> bool:
        """A magic or shell command as IPython writes it; whether it was one."""
        arguments = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if not _is_shell(function.value) or len(arguments) != len(node.args):
            return False
        if function.attr == "run_cell_magic" and len(arguments) == 3:
            magic = magics.cell_magic(*arguments)
        elif function.attr == "run_line_magic" and len(arguments) == 2:
            magic = magics.line_magic(*arguments)
        elif function.attr in ("system", "getoutput") and len(arguments) == 1:
            magic = magics.shell_command(arguments[0])
        else:
            return False
        self.names.load("get_ipython")
        self._magic(magic, node.lineno)
        return True

    def _magic(self, magic: magics.Magic, line: int) -> None:
        names = self.names
        for expression in magic.expressions:
            self._text(expression)
        for word in magic.words:
            self.strings[word] = None
            self.hints.update(identifiers(word))
        certain, names.certain = names.certain, names.certain and magic.certain
        self._bodies(magic, [tree for code in magic.code for tree in self._parsed(code, line, magic)])
        names.certain = False
        for name in magic.reads:
            names.load(name)
        for name in magic.deletes:
            names.delete(name)
        for name in magic.binds:
            names.store(name)
        names.certain = certain
        self.dynamic |= magic.dynamic
        names.open |= magic.opaque or magic.dynamic

    def _parsed(self, code: str, line: int, magic: magics.Magic) -> list[ast.Module]:
        try:
            return [self._parse_nested(code, line)]
        except (SyntaxError, ValueError) as error:
            if magic.strict and code is magic.code[-1] and isinstance(error, SyntaxError):
                raise
            # Perhaps it is no Python at all; if it should be, the magic says so itself when it runs.
            return []

    def _bodies(self, magic: magics.Magic, trees: list[ast.Module]) -> None:
        body = [statement for tree in trees for statement in tree.body]
        if not magic.isolated:
            (self.each if magic.certain else self.perhaps)(body)
            return
        frame = Frame(Kind.FUNCTION)
        bind_names(frame, body)
        self.names.frames.append(frame)
        self.each(body)
        self.names.frames.pop()


_BUILTINS = frozenset({"eval", "exec", "globals", "locals", "vars", "dir", "__import__"})


def _is_shell(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get_ipython"


def _last_word(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


_H = Expressions
Expressions.handlers.update({
    ast.Name: _H._name, ast.Constant: _H._constant, ast.JoinedStr: _H._joined, ast.Subscript: _H._subscript,
    ast.BoolOp: _H._bool_op, ast.Compare: _H._compare, ast.IfExp: _H._if_exp, ast.BinOp: _H._bin_op,
    ast.NamedExpr: _H._named, ast.Lambda: _H._lambda, ast.Call: _H._call, ast.Attribute: _H.attribute,
    **dict.fromkeys(COMPREHENSIONS, _H._comprehension),
})
if hasattr(ast, "TemplateStr"):  # since 3.14
    Expressions.handlers[ast.TemplateStr] = _H._joined
