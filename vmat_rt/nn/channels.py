"""The table of input channels: a name -> how a scene is turned into one array (z, y, x), float32. No torch.

    ct                  HU, clipped to the window and mapped to [-1, 1]; air outside the CT
    body                area fraction of the body, [0, 1]
    prescription        prescribed dose relative to the highest; where targets overlap the higher dose wins
    distance:NAME       signed distance to a structure, negative inside, clipped and mapped to [-1, 1]; an absent
                        structure has a value of its own
    beam:MAP            a map of vmat_rt.geometry.beams; zero for a target that is absent
    band:K/N            the band of sector K of N (K from 0, centred at the gantry angle K 360 / N) of
                        vmat_rt.geometry.bands, [0, 1] but near the skin; a group, of which all N belong together
    prior               another predictor's dose relative to the highest prescription

A channel is added by one function and one line of CHANNELS. A name is a kind, or kind:argument.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from vmat_rt.case import FloatArray
from vmat_rt.errors import ConfigError
from vmat_rt.geometry.bands import MOST_SECTORS
from vmat_rt.geometry.beams import list_map_names
from vmat_rt.geometry.distance import signed_distance_mm
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.scene import Scene

_CHORD: Final = "beam_chord"
_BAND: Final = "band"


@dataclass(frozen=True)
class ChannelKind:
    """compute(scene, argument) -> (z, y, x). argument says what stands after the colon, or is empty for none."""

    compute: Callable[[Scene, str], FloatArray]
    argument: str = ""


def compute_channel(scene: Scene, name: str) -> FloatArray:
    """The channel called `name` on the scene's grid. Raises ConfigError for a name that the table lacks."""
    kind, argument = parse_channel(name)
    return kind.compute(scene, argument)


def parse_channel(name: str) -> tuple[ChannelKind, str]:
    """A channel's kind and argument. Raises ConfigError that lists what there is."""
    word, colon, argument = name.partition(":")
    kind = CHANNELS.get(word)
    if kind is None or bool(kind.argument) != bool(argument) or (colon and not argument):
        known = ", ".join(f"{w}:<{k.argument}>" if k.argument else w for w, k in CHANNELS.items())
        raise ConfigError(f"no input channel is called {name!r}; there are {known}")
    if word == _BAND:
        sector_of(name)
    return kind, argument


def band_channels(sectors: int) -> tuple[str, ...]:
    """The group of channels of so many sectors, in their order."""
    return tuple(f"{_BAND}:{sector}/{sectors}" for sector in range(sectors))


def sector_of(name: str) -> tuple[int, int] | None:
    """The sector of a channel of bands and the number of sectors, or None for another kind of channel.

    Raises ConfigError for a sector that there is not.
    """
    word, _, argument = name.partition(":")
    if word != _BAND:
        return None
    sector, _, sectors = argument.partition("/")
    if not (sector.isascii() and sector.isdecimal() and sectors.isascii() and sectors.isdecimal()):
        raise ConfigError(f"the channel {name!r} names no sector; the first of nine is {_BAND}:0/9")
    if not int(sector) < int(sectors) <= MOST_SECTORS:
        raise ConfigError(f"the channel {name!r} is not one of at most {MOST_SECTORS} sectors, which count from 0")
    return int(sector), int(sectors)


def mirrored_channel(name: str) -> str:
    """The channel whose place a channel takes in the patient mirrored left to right: sides and sectors change."""
    found = sector_of(name)
    return mirrored_name(name) if found is None else f"{_BAND}:{-found[0] % found[1]}/{found[1]}"


def turned_channel(name: str, turns: Fraction) -> str:
    """The channel whose place a channel takes in the patient turned about z, from the gantry angle 0 towards 90, by
    this part of a whole turn. Raises ConfigError where bands do not come to lie on bands.
    """
    found = sector_of(name)
    if found is None:
        return name
    steps = turns * found[1]
    if steps.denominator != 1:
        raise ConfigError(f"a turn by {float(360 * turns):g} degrees puts no sector of {found[1]} on another")
    return f"{_BAND}:{(found[0] + steps.numerator) % found[1]}/{found[1]}"


def require_known(names: Iterable[str], structures: Collection[str], targets: Collection[str]) -> None:
    """Raises ConfigError for a channel of a structure or beam map that a protocol with these names does not have: where
    nobody contours it, it is as empty as that of a structure that one patient lacks.
    """
    known = {"distance": structures, "beam": list_map_names(targets)}
    for name in names:
        word, _, argument = name.partition(":")
        if word in known and argument not in known[word]:
            near = difflib.get_close_matches(argument, known[word], n=1)
            meant = f" (did you mean {word}:{near[0]}?)" if near else f"; there are {', '.join(known[word])}"
            raise ConfigError(f"the protocol has nothing for the input channel {name!r}{meant}")


def _ct(scene: Scene, _: str) -> FloatArray:
    low, high = scene.normalisation.hu_window
    scaled: FloatArray = (np.clip(scene.ct_hu.array, low, high) - (low + high) / 2) * (2 / (high - low))
    return scaled


def _body(scene: Scene, _: str) -> FloatArray:
    return scene.body


def _prescription(scene: Scene, _: str) -> FloatArray:
    """Painted from the lowest dose up: in a voxel that is partly covered the levels mix by area."""
    level = np.zeros(scene.grid.shape, np.float32)
    for name, dose_gy in reversed(scene.target_gy.items()):
        fraction = scene.fraction(name)
        if fraction is not None:
            level += fraction * (np.float32(dose_gy / scene.highest_gy) - level)
    return level


def _distance(scene: Scene, name: str) -> FloatArray:
    fraction = scene.fraction(name)
    if fraction is None:
        return np.full(scene.grid.shape, scene.normalisation.absent, np.float32)
    clip_mm = scene.normalisation.distance_mm
    return signed_distance_mm(fraction, scene.grid, clip_mm) * np.float32(1 / clip_mm)


def _beam(scene: Scene, name: str) -> FloatArray:
    found = scene.beam_maps.get(name)
    if found is not None:
        return found / np.float32(scene.normalisation.chord_cm) if name == _CHORD else found
    if name.removeprefix("beam_") in scene.targets:
        return np.zeros(scene.grid.shape, np.float32)  # no beam aims at a target that is absent
    raise ConfigError(f"no beam map is called {name!r}; there are {', '.join(scene.beam_maps)}")


def _band(scene: Scene, argument: str) -> FloatArray:
    found = sector_of(f"{_BAND}:{argument}")
    assert found is not None
    sector, sectors = found
    band: FloatArray = scene.bands(sectors)[sector]
    return band


def _prior(scene: Scene, _: str) -> FloatArray:
    if scene.prior_gy is None:
        raise ConfigError('the channel "prior" needs another predictor\'s dose, and none was given')
    return scene.prior_gy * np.float32(1 / scene.highest_gy)


CHANNELS: Final[dict[str, ChannelKind]] = {
    "ct": ChannelKind(_ct),
    "body": ChannelKind(_body),
    "prescription": ChannelKind(_prescription),
    "distance": ChannelKind(_distance, argument="Structure"),
    "beam": ChannelKind(_beam, argument="map"),
    "band": ChannelKind(_band, argument="sector/sectors"),
    "prior": ChannelKind(_prior),
}
