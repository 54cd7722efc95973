"""Clips per second of the pocket world: scenes drawn, pictures and sound rendered.

    python benchmarks/world_rendering.py [--clips 512] [--frames 17] [--height 64] [--width 64] [--processes 2]

Prints one process with one thread, one process with all threads, and several processes with one thread each; the first
also with the C allocator's defaults, to show what `keep_freed_memory` is worth.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

import torch

from openreels.world import keep_freed_memory, random_caption, render, sample_scene

BATCH = 128


def work(first: int, clips: int, frames: int, height: int, width: int) -> None:
    """Draw, caption and render `clips` scenes."""
    for seed in range(first, first + clips, BATCH):
        count = min(BATCH, first + clips - seed)
        scenes = [sample_scene(seed + i, duration=frames / 16, aspect=width / height) for i in range(count)]
        for scene in scenes:
            random_caption(scene, 0)
        render(scenes, frames=frames, height=height, width=width)


def process(keep: bool, threads: int, first: int, size: tuple[int, int, int, int], ready, answers) -> None:
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    work(10**6 + first, BATCH, *size[1:])  # templates and allocator warm
    ready.wait()
    begin, used = time.time(), time.process_time()
    work(first, *size)
    answers.put((begin, time.time(), time.process_time() - used))


def measure(name: str, processes: int, threads: int, keep: bool, size: tuple[int, int, int, int]) -> None:
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(processes), context.Queue()
    share = (size[0] // processes, *size[1:])
    workers = [
        context.Process(target=process, args=(keep, threads, i * share[0], share, ready, answers))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    times = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    seconds = max(end for _, end, _ in times) - min(begin for begin, _, _ in times)
    # On a machine that others use as well, the clock says little and the processor's own time much.
    clips, used = share[0] * processes, sum(cpu for _, _, cpu in times)
    print(f"{name:40s} {clips / seconds:6.0f} clips/s {used / clips * 1e3:7.2f} ms of processor time per clip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    size = (options.clips, options.frames, options.height, options.width)
    threads = torch.get_num_threads()
    measure("1 process, 1 thread, default allocator", 1, 1, False, size)
    measure("1 process, 1 thread", 1, 1, True, size)
    measure(f"1 process, {threads} threads", 1, threads, True, size)
    measure(f"{options.processes} processes, 1 thread each", options.processes, 1, True, size)


if __name__ == "__main__":
    main()
