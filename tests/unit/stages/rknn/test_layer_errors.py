"""The toolkit's table of layer errors, as it prints it."""

from __future__ import annotations

from stages.rknn.layer_errors import parse

TABLE = """\
# simulator_error: calculate the output error of each layer of the simulator (compared to the 'golden' value).
layer_name                                        simulator_error
                                              entire              single
                                           cos      euc        cos      euc
---------------------------------------------------------------------------
[Input] images                           1.00000 | 0.0       1.00000 | 0.0
[exDataConvert] images_int8              0.99986 | 0.2173    0.99986 | 0.2173
[Conv] /0/Conv_output_0
[Relu] /1/Relu_output_0                  0.99521 | 54.394    0.99521 | 1061.84
[Conv] /2/Conv_output_0                  0.82456 | 1061.842290.82590 | 40.430
[Reshape] logits_int8                    0.38153 | 10.841    nan | nan
[Reshape] logits_int8                    0.38153 | 10.841    0.99996 | 0.0892
[exDataConvert] logits                   0.38153 | 10.841    0.99996 | 0.0892
"""
GRAPH = [
    ("/0/Conv", ["images", "w0"], ["/0/Conv_output_0"]),
    ("/1/Relu", ["/0/Conv_output_0"], ["/1/Relu_output_0"]),
    ("/2/Conv", ["/1/Relu_output_0", "w2"], ["/2/Conv_output_0"]),
    ("/r", ["/2/Conv_output_0", "shape"], ["logits"]),
]


def test_fused_rows_are_one_layer_and_wide_numbers_are_told_apart() -> None:
    first, second, third, fourth = parse(TABLE, GRAPH)
    assert first.tensors == ("/0/Conv_output_0", "/1/Relu_output_0")
    assert first.nodes == ("/0/Conv", "/1/Relu")
    assert (first.reads, first.error, first.total_error) == ((), 1061.84, 54.394)
    assert second.reads == ("/1/Relu_output_0",)
    assert (second.total_cosine, second.total_error, second.cosine, second.error) == (
        0.82456,
        1061.84229,
        0.8259,
        40.43,
    )
    assert (third.tensors, third.cosine, third.error) == (("logits",), None, None)
    assert fourth.cosine == 0.99996


def test_what_is_no_table_holds_no_layers() -> None:
    assert parse("", GRAPH) == []
    assert parse("[Conv] /0/Conv_output_0  neither | a    number | here", GRAPH) == []
