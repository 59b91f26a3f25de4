import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import ParseError
from ncclprobe.nodes.csv import is_time, parse_results

PLAIN = "nodes,value\n"


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ('"dgx001,dgx002"', ("dgx001", "dgx002")),
        ("dgx001 dgx002", ("dgx001", "dgx002")),
        ("dgx001;dgx002", ("dgx001", "dgx002")),
        ("dgx[001-003]", ("dgx001", "dgx002", "dgx003")),
        ('"dgx[001,003],login"', ("dgx001", "dgx003", "login")),
        ("dgx001", ("dgx001",)),
    ],
)
def test_names_are_read_in_every_form(field, names):
    (value,) = parse_results(f"{PLAIN}{field},12.5\n", "x.csv").values
    assert (value.nodes, value.value, value.status) == (names, 12.5, "ok")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_line_ends_marks_and_comments_do_not_matter(separator, end):
    lines = ["\ufeff# jobs", "", " Nodes |VALUE|note|unit|rail", "a b|3|x|GB/s|mlx5_0", "# off", "a c|4|y||"]
    values = parse_results(end.join(lines).replace("|", separator), "x.csv").values
    assert [(v.nodes, v.value, v.unit, v.rail) for v in values] == [
        (("a", "b"), 3.0, "GB/s", "mlx5_0"),
        (("a", "c"), 4.0, None, None),
    ]


@pytest.mark.parametrize("comment", ['# on "a", "b" (night)', '# 5", "x', '  #, "'])
def test_quotes_in_a_comment_do_not_matter(comment):
    values = parse_results(f"{PLAIN}{comment}\na b,3\n{comment}\n\na c,4\n", "x.csv").values
    assert [(value.nodes, value.value) for value in values] == [(("a", "b"), 3.0), (("a", "c"), 4.0)]


def test_a_field_of_several_lines_holds_no_comment():
    (value,) = parse_results('nodes,value,note\na b,3,"failed at\n#12, "\n', "x.csv").values
    assert value.nodes == ("a", "b")


def test_empty_fields_at_a_rows_end_do_not_matter():
    (value,) = parse_results(f'{PLAIN}"a,b",3,, \n', "x.csv").values
    assert (value.nodes, value.value) == (("a", "b"), 3.0)


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("1e3", 1000.0, "ok"),
        ('"1,234.5"', 1234.5, "ok"),
        ("failed", 0.0, "failed"),
        ("NaN", 0.0, "failed"),
        ("timeout", 0.0, "timeout"),
        ("Hung", 0.0, "timeout"),
    ],
)
def test_values_and_groups_without_one(text, value, status):
    (read,) = parse_results(f"{PLAIN}a b,{text}\n", "x.csv").values
    assert (read.value, read.status) == (value, status)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_commas_are_decimal_ones_where_others_separate_fields(separator):
    rows = ["a b|378,75", "a c|1.378,5", "a d|2.000", "a e|failed", "a f|379", "a g|380.5", "a h|381,250 GB/s"]
    text = "\n".join(["nodes|value", *rows]).replace("|", separator)
    values = parse_results(text, "x.csv").values
    assert [value.value for value in values] == [378.75, 1378.5, 2000.0, 0.0, 379.0, 380.5, 381.25]
    thousands = parse_results(f"nodes{separator}value\na b{separator}1,378\na c{separator}2,000\n", "x.csv").values
    assert [value.value for value in thousands] == [1378.0, 2000.0]


@pytest.mark.parametrize(
    ("value", "unit"), [("381.2 GB/s", "GB/s"), ("12ms", "ms"), ("5e3 tok/s", "tok/s"), ("7", None), ("failed", None)]
)
def test_a_value_may_have_its_unit_beside_it(value, unit):
    (read,) = parse_results(f"{PLAIN}a b,{value}\n", "x.csv").values
    assert read.unit == unit
    (again,) = parse_results(f"nodes,value,unit\na b,{value},{unit or ''}\n", "x.csv").values
    assert again.unit == unit


def test_two_units_of_one_value_are_refused():
    with pytest.raises(ParseError, match="the value is in GB/s, and its column says MB/s"):
        parse_results("nodes,value,unit\na b,381.2 GB/s,MB/s\n", "x.csv")


@pytest.mark.parametrize("value", ["0 GB/s", "-5", "5 of 8", "GB/s", "1,2,3", "12 GB/s 3"])
def test_what_is_no_value_is_refused(value):
    with pytest.raises(ParseError, match="no number over 0"):
        parse_results(f'{PLAIN}a b,"{value}"\n', "x.csv")


def test_times_are_inverted_and_failures_stay():
    values = parse_results(f"{PLAIN}a b,4\na c,failed\n", "x.csv", lower_is_better=True).values
    assert [(value.value, value.status) for value in values] == [(0.25, "ok"), (0.0, "failed")]


def test_rows_are_ordered_by_time():
    text = "nodes,value,time\na b,1,2026-11-02T10:00:00Z\na c,2,2026-11-02T09:00:00Z\na d,3,2026-11-02T09:30:00+01:00\n"
    assert [value.value for value in parse_results(text, "x.csv").values] == [3.0, 2.0, 1.0]


def test_rows_that_repeat_another_count_once_where_their_time_shows_it():
    rows = "a b,1,5\na c,1,5\na b,1,5\na b,2,5\n"
    results = parse_results(f"nodes,value,time\n{rows}", "x.csv")
    assert [(value.nodes, value.value) for value in results.values] == [
        (("a", "b"), 1.0),
        (("a", "c"), 1.0),
        (("a", "b"), 2.0),
    ]
    assert results.repeated == 1
    results = parse_results("nodes,value\na b,1\na b,1\n", "x.csv")
    assert (len(results.values), results.repeated) == (2, 0)


def test_a_time_that_is_none_switches_the_column_off_and_is_told():
    results = parse_results("nodes,value,time\na b,1,yesterday\na c,2,7\n", "x.csv")
    assert results.bad_times == (2,)
    assert [(value.value, value.time) for value in results.values] == [(1.0, None), (2.0, None)]


def test_a_column_with_gaps_is_not_used_for_time():
    results = parse_results("nodes,value,time\na b,1,\na c,2,7\n", "x.csv")
    assert results.some_times and results.values[1].time is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "no header"),
        ("# only\n\n", None, "no header"),
        ("node,value\na b,1\n", 1, "'nodes'"),
        ("nodes,rate\na b,1\n", 1, "'value'"),
        ("nodes,value,value\na b,1,1\n", 1, "'value'"),
        ("nodes,value\n", 1, "no row"),
        ("nodes,value\na,b,1\n", 2, "quote names"),
        ("nodes,value\na b\n", 2, "1 fields"),
        ("nodes,value\na b,1\n\na c,fast\n", 4, "no number"),
        ("nodes,value\na b,0\n", 2, "no number over 0"),
        ("nodes,value\na b,-1\n", 2, "no number over 0"),
        ('nodes,value\na b,"381,2"\n', 2, "a point before decimals"),
        ('nodes,value\na b,"0,981"\n', 2, "a point before decimals"),
        ("nodes,value\na b,inf\n", 2, "no number over 0"),
        ("nodes,value\na b,\n", 2, "no number over 0"),
        ("nodes,value\n,1\n", 2, "no node names"),
        ('nodes,value\n"a[1,b",1\n', 2, "bracket"),
        ('nodes,value\n"a,b,1\n', 2, "not a row of CSV"),
    ],
)
def test_what_is_no_such_csv_is_told_with_its_line(text, line, message):
    with pytest.raises(ParseError, match=message) as caught:
        parse_results(text, "x.csv")
    assert caught.value.line == line


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(text):
    for content in (text, PLAIN + text):
        try:
            assert parse_results(content, "x.csv").values
        except ParseError as problem:
            assert str(problem).startswith("x.csv")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("ms", True),
        ("us", True),
        ("ms/step", True),
        ("s/it", True),
        ("median_ttft_ms", True),
        ("p99 latency", True),
        ("decode latency, ms", True),
        ("tok/s", False),
        ("GB/s", False),
        ("decode throughput, tok/s", False),
        ("requests per s", False),
        ("tokens_per_second", False),
        ("time_per_output_token_ms", True),
        ("decode time, tok/s", False),
        ("samples", False),
        (None, False),
    ],
)
def test_times_are_known_by_their_name(unit, expected):
    assert is_time(unit) is expected


def test_metrics_are_told_apart_and_times_among_them_inverted():
    text = "nodes,metric,unit,value\n" + 'a;b,throughput,tok/s,2000\na;b,ttft,ms,50\n"a,b",,tok/s,4\n'
    results = parse_results(text, "x.csv")
    assert [(value.unit, value.value) for value in results.values] == [
        ("throughput, tok/s", 2000.0),
        ("ttft, ms", 0.02),
        ("tok/s", 4.0),
    ]
    assert results.inverted == ("ttft, ms",)


def test_lower_is_better_inverts_everything_and_says_nothing():
    results = parse_results("nodes,unit,value\na;b,tok/s,4\na;b,ms,4\n", "x.csv", lower_is_better=True)
    assert [value.value for value in results.values] == [0.25, 0.25]
    assert results.inverted == ()


def test_rows_that_name_millions_of_nodes_are_refused(monkeypatch):
    monkeypatch.setattr("ncclprobe.nodes.csv.MOST_NAMES", 1000)
    rows = '"n[1-400]",1\n' * 2
    assert len(parse_results(PLAIN + rows, "x.csv").values) == 2
    with pytest.raises(ParseError, match=r"x.csv:4: the rows up to here name nodes over 1000 times; split"):
        parse_results(PLAIN + rows + rows, "x.csv")


@pytest.mark.parametrize("value", ["1e-320", "1e300", "inf"])
def test_values_that_no_ratio_can_be_taken_of_are_refused(value):
    with pytest.raises(ParseError, match="the value is no number over 0"):
        parse_results(f"{PLAIN}a,{value}\n", "x.csv")
