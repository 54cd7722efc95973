"""Makes docs/pocket.png, the picture of the README: `python docs/picture.py`. First seeds, nothing picked."""

from pathlib import Path

import openreels
from openreels.media.sheet import contact_sheet

PROMPTS = (
    "A large red rubber ball bounces on the grass by day. <sfx> Soft rubbery thumps and birdsong. </sfx>",
    "In the city at night a large green robot talks in a low voice.",
    "A big yellow wooden box falls down on the beach by day.",
    "On the left a small blue metal box jumps, on the right a large orange glass ring stands still, in a snowy field.",
    "A large magenta cat talks in a high voice in a room by day.",
    "A large cyan glass star slides to the right in the desert at night.",
)


def main() -> None:
    reel = openreels.load("pocket")
    requests = [openreels.Request(prompt=prompt, duration=2.0, seed=0) for prompt in PROMPTS]
    sheet = contact_sheet(reel.generate_batch(requests), PROMPTS, columns=9, scale=2)
    sheet.save(Path(__file__).with_name("pocket.png"), optimize=True)


if __name__ == "__main__":
    main()
