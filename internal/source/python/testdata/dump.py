"""Dumps the tree of CPython's ast in the form that the test of package python uses.

Reads file names from standard input, one per line. Prints one line per file:
its name, a tab, and "error", "skip" or the SHA-256 of the dump. With an
argument it prints the dumps themselves. Nothing is imported or run.
"""
import ast
import hashlib
import re
import sys
import tokenize
import warnings
import zlib

warnings.simplefilter("ignore")
OPS = {
    "Add": "+", "Sub": "-", "Mult": "*", "MatMult": "@", "Div": "/", "Mod": "%", "Pow": "**", "LShift": "<<",
    "RShift": ">>", "BitOr": "|", "BitXor": "^", "BitAnd": "&", "FloorDiv": "//", "Invert": "~", "Not": "not",
    "UAdd": "+", "USub": "-", "Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=",
    "Is": "is", "IsNot": "is not", "In": "in", "NotIn": "not in", "And": "and", "Or": "or",
}
SAME = {
    "Pass": "Pass", "Break": "Break", "Continue": "Continue", "Return": "Return", "Delete": "Delete",
    "Raise": "Raise", "Assert": "Assert", "Expr": "Expr", "Await": "Await", "YieldFrom": "YieldFrom",
    "Starred": "Star", "Tuple": "Tuple", "List": "List", "Set": "Set", "Slice": "Slice", "Yield": "Yield",
    "ListComp": "ListComp", "SetComp": "SetComp", "GeneratorExp": "Generator", "DictComp": "DictComp",
    "MatchValue": "PatValue", "MatchSequence": "PatSeq", "MatchOr": "PatOr", "Subscript": "Subscript",
    "Assign": "Assign", "AnnAssign": "AnnAssign", "NamedExpr": "Walrus",
}


class Dump:
    def __init__(self, text):
        self.data = text.encode("utf-8", "surrogatepass")
        self.lines = [0]
        for m in re.finditer(rb"\r\n|\r|\n", self.data):
            self.lines.append(m.end())
        self.out = []
        self.quiet = 0

    def pos(self, n):
        if self.quiet or not hasattr(n, "lineno"):
            return ""
        return "%d-%d" % (self.lines[n.lineno - 1] + n.col_offset, self.lines[n.end_lineno - 1] + n.end_col_offset)

    def node(self, kind, n, text, *kids):
        self.out.append("(%s %s %s" % (kind, self.pos(n) if n is not None else "", text))
        for k in kids:
            self.any(k)
        self.out.append(")")

    def any(self, k):
        if k is None:
            self.out.append("_")
        elif isinstance(k, list):
            for x in k:
                self.any(x)
        elif isinstance(k, tuple):
            self.node(*k)
        else:
            self.visit(k)

    def block(self, body):
        return ("Block", None, "", body) if body else None

    def ordered(self, args, keywords):
        return sorted(args + keywords, key=lambda x: (x.lineno, x.col_offset))

    def visit(self, n):
        kind = type(n).__name__
        if kind in SAME:
            self.node(SAME[kind], n, "", *[getattr(n, f) for f in n._fields if f not in ("ctx", "type_comment", "simple")])
            return
        getattr(self, "x_" + kind)(n)

    def x_AnnAssign(self, n):
        self.node("AnnAssign", n, "", n.target, n.annotation, n.value)

    def x_FunctionDef(self, n, flag=""):
        self.node("Func" + flag, n, n.name, ("Params", None, "", *self.params(n.args)), n.returns, self.generic(n), self.block(n.body), n.decorator_list)

    def x_AsyncFunctionDef(self, n):
        self.x_FunctionDef(n, "1")

    def params(self, a):
        out = []
        plain = a.posonlyargs + a.args
        defaults = [None] * (len(plain) - len(a.defaults)) + a.defaults
        for i, (p, d) in enumerate(zip(plain, defaults)):
            out.append(("Param" + ("8" if i < len(a.posonlyargs) else ""), None, p.arg, p.annotation, d))
        if a.vararg:
            out.append(("Param16", None, a.vararg.arg, a.vararg.annotation, None))
        for p, d in zip(a.kwonlyargs, a.kw_defaults):
            out.append(("Param4", None, p.arg, p.annotation, d))
        if a.kwarg:
            out.append(("Param32", None, a.kwarg.arg, a.kwarg.annotation, None))
        return out

    def generic(self, n):
        params = getattr(n, "type_params", None)
        return ("TypeParams", None, "", params) if params else None

    def x_TypeVar(self, n, flag=""):
        self.node("TypeParam" + flag, n, n.name, getattr(n, "bound", None), getattr(n, "default_value", None))

    def x_TypeVarTuple(self, n):
        self.x_TypeVar(n, "16")

    def x_ParamSpec(self, n):
        self.x_TypeVar(n, "32")

    def x_TypeAlias(self, n):
        self.node("TypeAlias", n, "", n.name, self.generic(n), n.value)

    def x_Lambda(self, n):
        self.node("Lambda", n, "", ("Params", None, "", *self.params(n.args)), n.body)

    def x_ClassDef(self, n):
        self.node("Class", n, n.name, self.generic(n), ("Args", None, "", *self.ordered(n.bases, n.keywords)), self.block(n.body), n.decorator_list)

    def x_Call(self, n):
        self.node("Call", n, "", n.func, *self.ordered(n.args, n.keywords))

    def x_keyword(self, n):
        self.node("Keyword", n, n.arg or "", n.value)

    def x_AugAssign(self, n):
        self.node("AugAssign", n, OPS[type(n.op).__name__], n.target, n.value)

    def x_For(self, n, flag=""):
        self.node("For" + flag, n, "", n.target, n.iter, self.block(n.body), self.block(n.orelse))

    def x_AsyncFor(self, n):
        self.x_For(n, "1")

    def x_While(self, n):
        self.node("While", n, "", n.test, self.block(n.body), self.block(n.orelse))

    def x_If(self, n):
        self.node("If", n, "", n.test, self.block(n.body), self.block(n.orelse))

    def x_With(self, n, flag=""):
        self.node("With" + flag, n, "", self.block(n.body), *[("WithItem", None, "", i.context_expr) + ((i.optional_vars,) if i.optional_vars else ()) for i in n.items])

    def x_AsyncWith(self, n):
        self.x_With(n, "1")

    def x_Try(self, n, flag=""):
        self.node("Try" + flag, n, "", self.block(n.body), self.block(n.orelse), self.block(n.finalbody), n.handlers)

    def x_TryStar(self, n):
        self.x_Try(n, "16")

    def x_ExceptHandler(self, n):
        self.node("Handler", n, n.name or "", n.type, self.block(n.body))

    def x_Import(self, n):
        self.node("Import", n, "", n.names)

    def x_ImportFrom(self, n):
        self.node("From", n, "." * n.level + (n.module or ""), n.names)

    def x_alias(self, n):
        self.node("Alias", n, n.name, *([("Name", None, n.asname)] if n.asname else []))

    def x_Global(self, n):
        self.node(type(n).__name__, n, "", *[("Name", None, x) for x in n.names])

    x_Nonlocal = x_Global

    def x_Match(self, n):
        self.node("Match", n, "", n.subject, *[("Case", None, "", c.pattern, c.guard, self.block(c.body)) for c in n.cases])

    def x_MatchSingleton(self, n):
        self.node("PatConst", n, repr(n.value))

    def x_MatchStar(self, n):
        self.node("PatStar", n, n.name or "")

    def x_MatchMapping(self, n):
        self.node("PatMap", n, n.rest or "", *[x for kv in zip(n.keys, n.patterns) for x in kv])

    def x_MatchClass(self, n):
        self.node("PatClass", n, "", n.cls, *n.patterns, *[("PatKeyword", None, a, p) for a, p in zip(n.kwd_attrs, n.kwd_patterns)])

    def x_MatchAs(self, n):
        self.node("PatAs", n, n.name or "", *([n.pattern] if n.pattern else []))

    def x_Name(self, n):
        self.node("Name", n, n.id)

    def x_Constant(self, n):
        v = n.value
        if isinstance(v, bool) or v is None:
            self.node("Constant", n, repr(v))
        elif v is ...:
            self.node("Constant", n, "...")
        elif isinstance(v, str):
            b = v.encode("utf-8", "surrogatepass")
            self.node("String", n, "%d:%d" % (len(b), zlib.crc32(b)))
        elif isinstance(v, bytes):
            self.node("String2", n, "%d:%d" % (len(v), zlib.crc32(v)))
        else:
            self.node("Number", n, "")

    def x_JoinedStr(self, n):
        pos = self.pos(n)
        self.quiet += 1
        self.out.append("(FString %s " % pos)
        self.any([v for v in n.values if not (isinstance(v, ast.Constant) and v.value == "")])
        self.out.append(")")
        self.quiet -= 1

    def x_FormattedValue(self, n):
        self.node("Field", n, "" if n.conversion < 0 else chr(n.conversion), n.value, n.format_spec)

    def x_Dict(self, n):
        self.node("Dict", n, "", *[x for kv in zip(n.keys, n.values) for x in kv])

    def x_Attribute(self, n):
        self.node("Attr", n, n.attr, n.value)

    def x_UnaryOp(self, n):
        self.node("Unary", n, OPS[type(n.op).__name__], n.operand)

    def x_BinOp(self, n):
        self.node("Binary", n, OPS[type(n.op).__name__], n.left, n.right)

    def x_BoolOp(self, n):
        self.node("Bool", n, OPS[type(n.op).__name__], n.values)

    def x_Compare(self, n):
        self.node("Compare", n, ",".join(OPS[type(o).__name__] for o in n.ops), n.left, *n.comparators)

    def x_IfExp(self, n):
        self.node("IfExp", n, "", n.test, n.body, n.orelse)

    def x_comprehension(self, n):
        self.node("Comp1" if n.is_async else "Comp", None, "", n.target, n.iter, *n.ifs)


def main():
    sys.setrecursionlimit(20000)
    for name in sys.stdin.read().splitlines():
        result = "error"
        try:
            with tokenize.open(name) as f:
                f.reconfigure(newline="")
                text = f.read()
            if text.startswith("\ufeff") or "\\N{" in text:
                result = "skip"
            else:
                with open(name, "rb") as f:
                    tree = ast.parse(f.read())
                d = Dump(text)
                d.any(tree.body)
                dump = "\n".join(d.out)
                if len(sys.argv) > 1:
                    print(dump)
                    continue
                result = hashlib.sha256(dump.encode("utf-8", "surrogatepass")).hexdigest()
        except (SyntaxError, ValueError, UnicodeError, RecursionError, MemoryError, LookupError):
            pass
        print(name + "\t" + result, flush=True)


main()
