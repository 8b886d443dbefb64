from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from emerit.devnet.plot import svg_plot, terminal_plot

LOSSES = st.lists(st.floats(0.01, 20), min_size=1, max_size=40)


@given(LOSSES)
def test_the_terminal_plot_has_a_column_per_value_and_names_both_ends(values: list[float]) -> None:
    lines = terminal_plot(values).splitlines()
    assert f"{max(values):6.3f}" in lines[0]
    assert f"{min(values):6.3f}" in lines[7]
    assert lines[-1].split() == [str(n) for n in range(len(values))]


@given(LOSSES)
def test_the_svg_is_well_formed_and_has_a_point_per_value(values: list[float]) -> None:
    root = ElementTree.fromstring(svg_plot(values, {"unigram entropy": 3.3}, "loss <&>"))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(values)
    heights = [float(c.attrib["cy"]) for c in circles]
    assert all(0 <= y <= 360 for y in heights)
    lowest, highest = values.index(min(values)), values.index(max(values))
    assert heights[lowest] >= heights[highest]
