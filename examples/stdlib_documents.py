"""Write the documentation of Python's standard library as Markdown: a corpus that is always there.

    python examples/stdlib_documents.py DIRECTORY

One file a public module of the interpreter at hand, made of its docstrings. Two runs with one
interpreter write the same bytes, and an unchanged file is not touched. Files of an earlier run
whose module is gone are removed; other files in the directory are left alone.
"""

import contextlib
import hashlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Importing these opens a browser or a window, prints, replaces modules or takes tests along.
# fmt: off
SKIPPED = {
    "antigravity", "ctypes.test", "distutils", "idlelib", "lib2to3", "sqlite3.test", "test",
    "this", "tkinter.test", "turtledemo", "unittest.test", "xxlimited", "xxlimited_35", "xxsubtype",
}
# fmt: on
# Over a hundred tables of the same form: nothing in them to read.
SKIPPED_INSIDE = {"encodings"}
MANIFEST = ".stdlib_documents"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/stdlib_documents.py DIRECTORY")
    directory = Path(sys.argv[1])
    n_documents = write_documents(directory)
    print(f"{directory}: {n_documents} modules of Python {sys.version.split()[0]}")


def write_documents(directory: Path) -> int:
    """Bring the files in ``directory`` up to date and return how many there are."""
    directory.mkdir(parents=True, exist_ok=True)
    names = []
    for module_name, text in documents():
        names.append(f"{module_name}.md")
        _write_if_changed(directory / names[-1], text)
    manifest = directory / MANIFEST
    earlier = manifest.read_text("utf-8").splitlines() if manifest.exists() else []
    for name in set(earlier) - set(names):
        (directory / Path(name).name).unlink(missing_ok=True)
    _write_if_changed(manifest, "".join(f"{name}\n" for name in names))
    return len(names)


def _write_if_changed(path: Path, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def documents() -> Iterator[tuple[str, str]]:
    """Yield the name and the Markdown of each module that says something no other said before."""
    seen: set[bytes] = set()
    for module in _modules():
        body = _ADDRESS.sub("", _body(module))
        digest = hashlib.sha256(body.encode("utf-8", "backslashreplace")).digest()
        if body and digest not in seen:
            seen.add(digest)
            yield module.__name__, f"# {module.__name__}\n\n{body}\n"


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _modules() -> Iterator[ModuleType]:
    names = sorted(sys.stdlib_module_names, reverse=True)
    while names:
        name = names.pop()
        is_private = name.rpartition(".")[2].startswith("_")
        module = None if is_private or name in SKIPPED else _import(name)
        # posixpath is also os.path: a module counts under the name it gives itself.
        if module is None or module.__name__ != name:
            continue
        yield module
        if name not in SKIPPED_INSIDE:
            inner = pkgutil.iter_modules(getattr(module, "__path__", []), f"{name}.")
            names += sorted((info.name for info in inner), reverse=True)


def _import(name: str) -> ModuleType | None:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException:  # of another platform, an optional part, or one that exits
            return None


def _body(module: ModuleType) -> str:
    members = [(name, getattr(module, name, None)) for name in _public_names(module)]
    functions = [
        _function(name, member, level=2) for name, member in members if inspect.isroutine(member)
    ]
    classes = [_class(name, member) for name, member in members if inspect.isclass(member)]
    return "\n\n".join(filter(None, [_doc(module), *functions, *classes]))


def _public_names(module: ModuleType) -> list[str]:
    """The names in ``__all__``, else the public ones defined in the module or its C half."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(set(listed))
    homes = {module.__name__, f"_{module.__name__}"}
    return sorted(
        name
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", None) in homes
    )


def _doc(thing: object) -> str:
    """The docstring of ``thing`` itself: a class without one would show that of ``object``."""
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


def _function(name: str, function: Callable[..., Any], *, level: int) -> str:
    return f"{'#' * level} {name}{_signature(function)}\n\n{_doc(function)}".strip()


def _signature(thing: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(thing)
    except Exception:  # inspect evaluates the signatures of C functions, and some do not work out
        return "(...)"
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_shown(parameter.default))
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters))


class _Ellipsis:
    def __repr__(self) -> str:
        return "..."


def _shown(default: object) -> object:
    """The default itself where its repr is the same on every run and every machine."""
    if default is inspect.Parameter.empty or default is None:
        return default
    if isinstance(default, str):
        return _Ellipsis() if os.path.isabs(default) else default
    return default if type(default) in {bool, int, float, bytes} else _Ellipsis()


def _class(name: str, cls: type) -> str:
    own = [(key, member) for key, member in sorted(vars(cls).items()) if not key.startswith("_")]
    methods = [_method(f"{name}.{key}", member) for key, member in own]
    title = f"## class {name}{_signature(cls)}"
    return "\n\n".join(filter(None, [title, _doc(cls), *methods]))


def _method(name: str, member: Any) -> str:
    """A method or property with a docstring; the others repeat what their class inherits."""
    function = getattr(member, "__func__", member)  # of a classmethod or staticmethod
    if not _doc(function):
        return ""
    if inspect.isroutine(function):
        return _function(name, function, level=3)
    return f"### {name}\n\n{_doc(function)}" if isinstance(function, property) else ""


if __name__ == "__main__":
    main()
