"""The benches: a module each, with one class that is found by its name."""

import importlib
import inspect
import pkgutil

from ..frame import Bench, Rounds

__all__ = ["BENCHES"]


def _found() -> dict[str, Bench]:
    modules = [importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
    benches = [
        kind()
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Bench) and kind not in {Bench, Rounds}
    ]
    return {bench.name: bench for bench in benches}


BENCHES = _found()
