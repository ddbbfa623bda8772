"""Every part by name, imported when it is asked for: a part may need packages that others do not."""

from importlib import import_module

from .frame import Part

__all__ = ["NAMES", "find"]

#: In the order in which they are run and reported.
NAMES = {
    "exhaustion": "tests.proof.exhaustion:Exhaustion",
    "faults": "tests.proof.faults:Faults",
    "model": "tests.proof.model:Model",
    "simulation": "tests.proof.simulation.part:Simulation",
    "storms": "tests.proof.storms:Storms",
    "weather": "tests.proof.weather:Weather",
    "chaos": "tests.proof.chaos.part:Chaos",
    "mutation": "tests.proof.mutation:Mutation",
    "rivals": "tests.proof.rivals.part:Rivals",
}


def find(name: str) -> Part:
    """A part, made.

    Raises:
        KeyError: there is none of that name.
    """
    module, _, kind = NAMES[name].partition(":")
    part: Part = getattr(import_module(module), kind)()
    return part
