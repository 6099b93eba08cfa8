"""The percentage with its interval, drawn on a scale with the scheme's cut-offs; SVG, which both layouts take."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 640, 96
LEFT, RIGHT, AXIS = 20, 620, 58
TOPS = (5.0, 10.0, 20.0, 50.0, 100.0)
INK, FAINT, ACCENT, SHADE = "#1c2733", "#6b7785", "#005ab2", "#eef2f6"


def interval_svg(percent: float, interval: tuple[float, float], cut_offs: Sequence[tuple[str, float]]) -> str:
    """Draw a percentage.

    Parameters
    ----------
    percent : float
        0 to 100.
    interval : tuple of float
        In percent.
    cut_offs : sequence of (str, float)
        Grades with the percentage from which they hold.
    """
    top = next((each for each in TOPS if interval[1] <= 0.9 * each), 100.0)

    def place(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * min(max(value, 0.0), top) / top

    shown = [("0", 0.0), *((grade, level) for grade, level in cut_offs if level < top)]
    ends = [level for _, level in shown[1:]] + [top]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="Libertinus Serif, Georgia, serif" role="img" aria-label="{percent:.1f} percent, 95 percent interval '
            f'{interval[0]:.1f} to {interval[1]:.1f}">'
        )
    ]
    for number, ((grade, start), end) in enumerate(zip(shown, ends, strict=True)):
        x, width = place(start), place(end) - place(start)
        fill = SHADE if number % 2 == 0 else "#dfe6ee"
        parts.append(f'<rect x="{x:.1f}" y="26" width="{width:.1f}" height="32" fill="{fill}"/>')
        if width > 16:
            parts.append(_text(x + width / 2, 19, f"grade {grade}" if width > 52 else grade, FAINT, 12))
    parts.append(f'<line x1="{LEFT}" y1="{AXIS}" x2="{RIGHT}" y2="{AXIS}" stroke="{INK}" stroke-width="1"/>')
    for step in range(6):
        value = top * step / 5
        parts.append(f'<line x1="{place(value):.1f}" y1="{AXIS}" x2="{place(value):.1f}" y2="63" stroke="{INK}"/>')
        parts.append(_text(place(value), 78, f"{value:g} %", INK, 12))
    low, high = place(interval[0]), place(interval[1])
    parts.append(f'<line x1="{low:.1f}" y1="42" x2="{high:.1f}" y2="42" stroke="{ACCENT}" stroke-width="3"/>')
    parts += [
        f'<line x1="{end:.1f}" y1="35" x2="{end:.1f}" y2="49" stroke="{ACCENT}" stroke-width="3"/>'
        for end in (low, high)
    ]
    parts.append(
        f'<circle cx="{place(percent):.1f}" cy="42" r="6" fill="{ACCENT}" stroke="#ffffff" stroke-width="1.5"/>'
    )
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, colour: str, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="{colour}" font-size="{size}" text-anchor="middle">{escape(text)}</text>'
