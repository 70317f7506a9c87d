import math

from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.power.readers.exposition import Parser

WANTED = frozenset({"m", "kepler_node_cpu_watts"})


def test_labels_values_and_times_are_read():
    text = '# HELP m Words {with="braces"}.\nm{node_name="n1",unknown="x",zone="package",} 1.5e3 7000\nm 2\n'
    (first, value, when), (second, plain, none) = Parser(WANTED).parse(text).samples
    assert (first.node_name, first.zone, value, when) == ("n1", "package", 1500.0, 7.0)
    assert (second.node_name, plain, none) == ("", 2.0, None)


def test_a_malformed_line_costs_that_line_alone():
    exposed = Parser(WANTED).parse('m{node_name="n1"} 1\nm{node_name="n1} 2\nm{} x\n%%%\nm{node_name="n2"} 3\n')
    assert [(one[0].node_name, one[1]) for one in exposed.samples] == [("n1", 1.0), ("n2", 3.0)]
    assert exposed.malformed_count == 3


def test_a_time_that_is_none_makes_a_line_malformed():
    exposed = Parser(WANTED).parse("m 1 NaN\nm 2 +Inf\nm 3 7000\n")
    assert [one[1:] for one in exposed.samples] == [(3.0, 7.0)]
    assert exposed.malformed_count == 2


def test_special_values_and_exemplars_are_read():
    exposed = Parser(WANTED).parse('m NaN\nm +Inf\nm{zone="a"} 4 # {trace_id="}"} 1 5\n')
    nan, infinite, four = (value for _, value, _ in exposed.samples)
    assert math.isnan(nan)
    assert infinite == math.inf
    assert four == 4.0


def test_other_metrics_are_named_and_not_kept():
    exposed = Parser(WANTED).parse('other{a="b"} 1\n')
    assert exposed.samples == []
    assert exposed.names == {"other"}


def test_defaults_fill_what_a_series_does_not_say():
    parser = Parser(WANTED, node="n9", zone="z9")
    assert [(one[0].node, one[0].zone) for one in parser.parse('m{zone="a"} 1\nm 2\n').samples] == [
        ("n9", "a"),
        ("n9", "z9"),
    ]


@given(st.text())
def test_any_label_survives_escaping_twice_over(value: str):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    parser = Parser(WANTED)
    line = f'm{{node_name="{escaped}"}} 1\n'
    for _ in range(2):  # The second time from what it remembers.
        assert [one[0].node_name for one in parser.parse(line).samples] == [value]


@given(st.text())
def test_no_text_breaks_it(text: str):
    Parser(WANTED).parse(text)
