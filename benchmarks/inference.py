"""One pass over the whole grid against a sliding window, same network: `python benchmarks/inference.py`.

    whole      one pass over our prostate grid, 96 x 160 x 192 voxels of 2.5 mm
    halved     one pass over that grid at twice the spacing, as the recipes with `coarsen: 2` compute
    windows    the same voxels in windows of 128 with overlap 64
    reference  the same network on the reference's own grid, 256 x 512 x 512 voxels of 2 x 1 x 1 mm, in those windows.
               Each window costs the same, so on a CPU one is timed and multiplied by their number; --all runs all.

The weights are random: time does not depend on them. Each way runs in a process of its own, with its own peak memory.
--width 48 is the reference network (23.7 million parameters); a smaller one shows the ratios in less time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor

from vmat_rt.grid import Shape
from vmat_rt.nn.device import bounded_threads, choose_device, choose_dtype
from vmat_rt.nn.infer import Plan, run_network
from vmat_rt.nn.unet import UNet, UNetSettings, parameter_count
from vmat_rt.nn.windows import Window, corners

OURS: Shape = (96, 160, 192)
HALVED: Shape = (48, 80, 96)
REFERENCE: Shape = (256, 512, 512)
CHANNELS, CONDITION = 14, 15
WINDOW = Window(patch=(128, 128, 128), overlap=(64, 64, 64))
WAYS = ("whole", "halved", "windows", "reference")


def main() -> None:
    options = parse_options()
    if options.way:
        print(json.dumps(measure(options)))
        return
    rows = {way: run_in_own_process(way, options) for way in WAYS}
    first = rows["whole"]
    print(f"{first['parameters'] / 1e6:.1f} million parameters, {first['where']}, {first['dtype']}")
    for way, row in rows.items():
        ratio = row["seconds"] / first["seconds"]
        note = "" if row["timed"] == row["windows"] else f" (from {row['timed']} of them)"
        print(
            f"{way:10} {row['windows']:4d} passes{note}  {row['seconds']:8.2f} s  processor {row['cpu']:8.2f} s  "
            f"peak {row['peak_mib']:6.0f} MiB  {ratio:6.1f} x"
        )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many is printed")
    parser.add_argument("--all", action="store_true", help="run every window of the reference's grid")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_own_process(way: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--width", str(options.width), "--device", options.device]
    command += ["--precision", options.precision, "--repeat", str(options.repeat), *(["--all"] if options.all else [])]
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return row


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way on this process: seconds for the whole job, processor seconds, peak memory."""
    device = choose_device(options.device)
    dtype = choose_dtype(device, options.precision)
    torch.manual_seed(0)
    network = UNet(UNetSettings(width=options.width), CHANNELS, CONDITION).eval()
    network.to(device, memory_format=torch.channels_last_3d)
    shape, window, count, timed = choose_job(options.way, every=options.all or device.type == "cuda")
    x = torch.zeros(1, CHANNELS, *shape, device=device).normal_()
    condition = torch.zeros(1, CONDITION, device=device)
    with bounded_threads(None), torch.inference_mode():
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            seconds, cpu = time_best(options.repeat, device, lambda: run_network(network, x, condition, Plan(window)))
        threads = torch.get_num_threads()
    return {
        "parameters": parameter_count(network),
        "where": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{threads} CPU threads",
        "dtype": str(dtype).removeprefix("torch."),
        "windows": count,
        "timed": timed,
        "seconds": seconds * count / timed,
        "cpu": cpu * count / timed,
        "peak_mib": read_peak_mib(device),
    }


def choose_job(way: str, every: bool) -> tuple[Shape, Window | None, int, int]:
    """Shape to run, how it is cut, passes that the whole job takes, and passes that will be run."""
    if way in {"whole", "halved"}:
        return OURS if way == "whole" else HALVED, None, 1, 1
    grid = OURS if way == "windows" else REFERENCE
    patch = (min(grid[0], 128), min(grid[1], 128), min(grid[2], 128))
    count = len(list(corners(grid, patch, WINDOW)))
    if way == "reference" and not every:
        return (128, 128, 128), WINDOW, count, 1
    return grid, WINDOW, count, count


def time_best(repeat: int, device: torch.device, run: Any) -> tuple[float, float]:
    """Shortest wall and processor seconds; on a GPU after one run to warm up."""
    if device.type == "cuda":
        run()
    wall, cpu = [], []
    for _ in range(max(1, repeat)):
        started, used = time.perf_counter(), time.process_time()
        output: Tensor = run()
        output.sum().item()  # a GPU has finished when a number has arrived
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return min(wall), min(cpu)


def read_peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
