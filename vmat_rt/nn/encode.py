"""encode: a case -> the arrays that a network takes. Training and inference both use this function. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from pydantic import model_validator

from vmat_rt.case import Case, FloatArray
from vmat_rt.errors import ConfigError
from vmat_rt.grid import Grid
from vmat_rt.naming import mirrored_name
from vmat_rt.nn.channels import compute_channel, mirrored_channel, parse_channel, turned_channel
from vmat_rt.nn.scene import Normalisation, Scene
from vmat_rt.protocol import Protocol
from vmat_rt.strict import Strict

_DISTANCE: Final = "distance:"


class Channels(Strict):
    """What a network is told of a case: its input channels in order, its targets in order, and the normalisation.

    angles_deg are the gantry angles that beam maps are made for where no plan says better. Raises
    ConfigError for a channel that nobody computes, or a name that stands twice.
    """

    names: tuple[str, ...]
    targets: tuple[str, ...]
    normalisation: Normalisation = Normalisation()
    angles_deg: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _known_and_unique(self) -> Channels:
        for name in self.names:
            parse_channel(name)
        for kind, names in (("channels", self.names), ("targets", self.targets)):
            if not names or len(set(names)) != len(names):
                raise ConfigError(f"{kind} must be named, each once, not {list(names)}")
        return self

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures with a presence flag: those with a distance channel, then targets without one."""
        near = tuple(name.removeprefix(_DISTANCE) for name in self.names if name.startswith(_DISTANCE))
        return near + tuple(name for name in self.targets if name not in near)

    @property
    def condition_size(self) -> int:
        """Length of the condition vector: a dose for each target, the fractions, a flag for each structure."""
        return len(self.targets) + 1 + len(self.structures)

    def flag_index(self, name: str) -> int:
        """Where the condition vector says whether the structure is there."""
        return len(self.targets) + 1 + self.structures.index(name)


@dataclass(frozen=True)
class Encoded:
    """A case as a network takes it.

    array: float32 (channel, z, y, x), of values that 16 bits hold. condition: float32 (condition_size,). body: area
    fraction float32 (z, y, x), to mask the output with. highest_gy: what one unit of the network's output stands for.
    """

    array: FloatArray
    condition: FloatArray
    body: FloatArray
    highest_gy: float


def encode(case: Case, grid: Grid, channels: Channels, prior_gy: FloatArray | None = None) -> Encoded:
    """The case on the grid, channel by channel, and the condition vector (see `condition`).

    prior_gy is another predictor's dose on the grid, float32 (z, y, x), where a channel asks for it. Raises ConfigError
    when it is missing or of another shape, InputError when no prescribed target or no body lies on the grid,
    GeometryError when grid and case lie in different frames of reference.
    """
    scene = Scene(case, grid, channels.normalisation, channels.angles_deg, prior_gy, channels.targets)
    highest_gy = scene.highest_gy
    array = np.empty((len(channels.names), *grid.shape), np.float32)
    for channel, name in zip(array, channels.names, strict=True):
        # Training keeps its examples in half precision; what is predicted on must be the very same numbers.
        channel[...] = compute_channel(scene, name).astype(np.float16)
    return Encoded(array, condition(scene, channels), scene.body, highest_gy)


def condition(scene: Scene, channels: Channels) -> FloatArray:
    """The FiLM condition vector, float32 (condition_size,).

    In order: the prescribed dose of each target (total Gy / normalisation.dose_gy; 0 where the target is absent or
    not prescribed), the fraction count / normalisation.fractions, and for each of `channels.structures` 1 when it is
    present, else 0. A target that is contoured but not prescribed has dose 0 and flag 1.
    """
    scale = channels.normalisation
    doses = [scene.target_gy.get(name, 0.0) / scale.dose_gy for name in channels.targets]
    fractions = scene.case.prescription.fractions / scale.fractions
    flags = [float(scene.fraction(name) is not None) for name in channels.structures]
    return np.array([*doses, fractions, *flags], np.float32)


def channels_for(protocol: Protocol, extra: tuple[str, ...] = ()) -> Channels:
    """The standard channels of a protocol: CT, body, prescription, distances to its structures, and `extra`."""
    targets = tuple(spec.name for spec in protocol.with_role("target"))
    near = targets + tuple(spec.name for spec in protocol.with_role("oar"))
    names = ("ct", "body", "prescription", *(_DISTANCE + name for name in near), *extra)
    return Channels(names=names, targets=targets, angles_deg=protocol.beam_angles.angles_deg())


@dataclass(frozen=True)
class Mirror:
    """Index permutations that make a case its own mirror image, once the x axis is reversed.

    array[channels][..., ::-1] and vector[condition]: left structures take the place of right ones and the reverse.
    """

    channels: tuple[int, ...]
    condition: tuple[int, ...]


def mirror(channels: Channels) -> Mirror:
    """Which channels and condition values change places under a left-right flip of the patient.

    Sides are read from TG-263 names (`Femur_Head_L`, `Parotid_R`). Raises ConfigError when a structure of one side has
    no counterpart among the inputs: such a network cannot be shown a mirrored patient.
    """
    first_flag = len(channels.targets) + 1
    targets = _partners(channels.targets, "target")
    structures = _partners(channels.structures, "structure")
    flags = tuple(first_flag + index for index in structures)
    inputs = _partners(channels.names, "channel", mirrored_channel)
    return Mirror(inputs, (*targets, len(channels.targets), *flags))


def turned(channels: Channels, turns: Fraction) -> tuple[int, ...]:
    """Which channel each one is taken from when a patient is turned about z by this part of a whole turn, from the
    gantry angle 0 towards 90: array[turned(...)] of the turned arrays.

    Raises ConfigError when the fields (channels.angles_deg) do not come to lie on fields, or bands on bands.
    """
    if any(name.startswith(("beam:", "band:")) for name in channels.names):
        require_turned_onto_itself(channels.angles_deg, turns)
    places = {turned_channel(name, turns): index for index, name in enumerate(channels.names)}
    lone = [name for name in channels.names if name not in places]
    if lone:
        raise ConfigError(f"a turn needs all sectors of a group of bands; there is nothing to become {', '.join(lone)}")
    return tuple(places[name] for name in channels.names)


def require_turned_onto_itself(angles_deg: Sequence[float], turns: Fraction) -> None:
    """Raises ConfigError unless gantry angles, turned by this part of a whole turn, are the same angles."""
    tenths = {round(angle * 10) % 3600 for angle in angles_deg}
    after = {round(angle * 10 + 3600 * turns) % 3600 for angle in angles_deg}
    if tenths != after:
        shown = ", ".join(f"{angle:g}" for angle in sorted(angles_deg)[:12])
        raise ConfigError(
            f"fields at {shown or 'no angle'} are not the same after a turn by {float(360 * turns):g} degrees; "
            "set augmentation.turn_share=0"
        )


def _partners(names: tuple[str, ...], what: str, mirrored: Callable[[str], str] = mirrored_name) -> tuple[int, ...]:
    try:
        return tuple(names.index(mirrored(name)) for name in names)
    except ValueError:
        lone = [name for name in names if mirrored(name) not in names]
        raise ConfigError(f"left and right cannot change places: no other side for {what} {', '.join(lone)}") from None
