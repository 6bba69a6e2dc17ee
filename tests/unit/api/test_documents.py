"""YAML and JSON as Kubernetes uses them, and what hostile or broken text does."""

import time
from typing import Any

import pytest
import yaml

from socklb.api import documents
from socklb.api.documents import DocumentError, load_json, load_json_file, load_yaml, split_yaml


def load_all(text: str) -> list[Any]:
    return [document for line, part in split_yaml(text.encode()) for document in load_yaml(part, line)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("-5", -5),
        ("0", 0),
        ("0x1F", 31),
        ("010", 8),
        ("0o10", 8),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("9" * 70, "9" * 70),
        ("true", True),
        ("Yes", True),
        ("OFF", False),
        ("y", "y"),
        ("'80'", "80"),
        ('"true"', "true"),
        ("10.96.0.10", "10.96.0.10"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("!!python/object/apply:os.getcwd []", []),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_a_scalar_is_what_kubernetes_takes_it_for(text: str, value: object) -> None:
    (found,) = load_all(f"key: {text}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize("null", ["", "~", "null", "NULL"])
def test_a_key_with_null_is_a_key_left_out(null: str) -> None:
    assert load_all(f"a: {null}\nb: 1") == [{"b": 1}]


def test_a_key_is_always_text() -> None:
    assert load_all("1: a\ntrue: b\n~: c") == [{"1": "a", "true": "b", "~": "c"}]


def test_documents_are_told_apart_with_their_lines() -> None:
    text = b"# first\na: 1\n--- # second\nb: 2\n---\nc: |\n  x\n  ---\n---"
    assert [(line, load_yaml(part)) for line, part in split_yaml(text)] == [
        (1, [{"a": 1}]),
        (3, [{"b": 2}]),
        (5, [{"c": "x\n---\n"}]),
        (9, [None]),
    ]


def test_a_document_may_end_with_three_dots() -> None:
    assert load_all("a: 1\n...\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]


def test_it_reads_what_the_safe_loader_of_pyyaml_reads() -> None:
    text = """
        apiVersion: v1
        kind: Service
        metadata: {name: web, labels: {app: "web", tier: 'front'}, annotations: {"a/b": "{\\"x\\": 1}"}}
        spec:
          ports:
          - {name: http, port: 80, targetPort: http}
          -   name: dns
              port: 53
              protocol: UDP
          clusterIPs: [10.96.0.10, "fd00:10:96::a"]
          note: >-
            folded
            text
        """
    assert load_all(text) == list(yaml.safe_load_all(text))


def test_an_alias_repeats_what_its_anchor_names() -> None:
    assert load_all("a: &x {p: 1}\nb: *x\nc: &y [1]\nd: *y\ne: &z t\nf: *z") == [
        {"a": {"p": 1}, "b": {"p": 1}, "c": [1], "d": [1], "e": "t", "f": "t"}
    ]


def test_aliases_cannot_multiply_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10))
    with pytest.raises(DocumentError, match="line 5: aliases repeat more than 100000 values"):
        load_all(f"l0: &l0 [1,1,1,1,1,1,1,1,1,1]\n{levels}")
    monkeypatch.setattr(documents, "MAX_ALIASED", 22)
    assert load_all("a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\nb: [*a, *a]")
    with pytest.raises(DocumentError):
        load_all("a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\nb: [*a, *a, *a]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "line 1: mapping values are not allowed in this context"),
        ("ok: 1\n---\na: 1\nb: [", "line 5: did not find expected node content"),
        ("a: 1\na: 2", "line 2: key 'a' is twice in this mapping"),
        ("a: *b", r"line 1: alias \*b is not known here"),
        ("a: &a [*a]", r"line 1: alias \*a is not known here"),
        ("a: &x {b: 1}\n---\nc: *x", r"line 3: alias \*x is not known here"),
        ("a: 1\n...\nc: 2", "line 3: did not find expected <document start>"),
        ("a: &x [1]\nc:\n  <<: *x\n", r"line 4: a merge key \(<<\) stands for no mapping"),
        ("a: {<<: 1}", r"line 1: a merge key \(<<\) stands for no mapping"),
        ("apiVersion: v1\nkind: A\napiVersion: v1", "line 3: key 'apiVersion' is twice .*; is a line --- missing"),
        ("{a: 1}: b", "line 1: a key must be a string"),
        ("a:\n\tb: 1", "line 2: found character that cannot start any token"),
        ("a: \x01", "line 1: unacceptable character"),
        ("[" * 101, "line 1: nested deeper than 100 levels"),
        ("[" * 1_000_000, "line 1: nested deeper than 100 levels"),
    ],
    ids=range(15),
)
def test_a_broken_document_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=f"^{message}"):
        load_all(text)


def test_merge_keys_add_what_a_mapping_does_not_say_itself() -> None:
    text = """
        base: &base {a: 1, b: 2}
        more: &more {b: 3, c: 4}
        one: {<<: *base, b: 9}
        after: {b: 9, <<: *base}
        two: {<<: [*base, *more], d: 5}
        inline: {<<: {x: 1}}
        quoted: {"<<": *base}
        nulled: {<<: *base, a: ~}
        """
    (found,) = load_all(text)
    assert {key: found[key] for key in ("one", "after", "two", "inline", "quoted", "nulled")} == {
        "one": {"a": 1, "b": 9},
        "after": {"a": 1, "b": 9},
        "two": {"a": 1, "b": 2, "c": 4, "d": 5},
        "inline": {"x": 1},
        "quoted": {"<<": {"a": 1, "b": 2}},
        "nulled": {"b": 2},
    }


def test_byte_order_marks_are_passed_over_where_files_were_put_together() -> None:
    mark = "\ufeff"
    assert load_all(f"{mark}a: 1\r\n{mark}---\r\nb: 2\r\n---\r\n{mark}c: 3\r\n") == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert load_json_file(f'{mark}{{"a": 1}}\n{mark}{{"b": 2}}'.encode()) == [{"a": 1}, {"b": 2}]


def test_a_json_file_may_say_several_documents_one_after_the_other() -> None:
    assert load_json_file(b'{"a": null, "b": 1}\n{"c": 2}{"d": 3}\n\n') == [{"b": 1}, {"c": 2}, {"d": 3}]
    for broken, told in (
        (b'{"a": 1}\n{"b": NaN}', "JSON has no NaN"),
        (b'{"a": 1}\n{"b": }', "line 2: Expecting value"),
    ):
        with pytest.raises(DocumentError, match=told):
            load_json_file(broken)


@pytest.mark.parametrize(
    "text",
    [
        "kind: Service\nspec:\n  port: {{ .Values.port }}\n",
        "{{- if .Values.enabled }}\nkind: Service\n{{- end }}\n",
        "metadata:\n  name: {{ .Release.Name }}-web\n  namespace: a\n",
    ],
)
def test_a_template_that_was_not_rendered_is_told_so(text: str) -> None:
    with pytest.raises(DocumentError, match=r"^line \d: .*; next: render the template first, as by helm template$"):
        load_all(text)


def test_broken_json_is_told_with_its_line() -> None:
    with pytest.raises(DocumentError, match=r"^line 2: JSON is malformed: .*; next: render the template first"):
        load_json_file(b'{\n "port": {{ .Values.port }}\n}')
    with pytest.raises(DocumentError, match=r"^line 3: JSON is malformed: [^;]*$"):
        load_json_file(b'{\n "port":\n 080}')


def test_json_is_read_and_its_nulls_left_out() -> None:
    assert load_json(b'{"a": null, "b": [{"c": null, "d": 1}]}') == {"b": [{"d": 1}]}


@pytest.mark.parametrize("text", [b"{", b"", b"{} {}", b"\xff", b"[" * 100_000 + b"]" * 100_000])
def test_broken_json_is_refused(text: bytes) -> None:
    with pytest.raises(DocumentError):
        load_json(text)


def test_many_merges_into_a_large_mapping_take_no_time_for_each_of_its_keys() -> None:
    """Ten thousand into forty thousand keys took a minute, and the agent's thread with them."""
    keys = b"".join(b"  k%d: 1\n" % number for number in range(40_000))
    text = b"a: &a {z: 1}\nb:\n" + keys + b"  <<: [" + b"*a, " * 10_000 + b"*a]\n"
    began = time.process_time()
    (document,) = load_yaml(text)
    assert len(document["b"]) == 40_001
    assert time.process_time() - began < 10  # 0.5 s
