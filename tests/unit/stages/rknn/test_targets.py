"""The table of chips."""

from __future__ import annotations

import pytest

from mcwbuild.contract import schemas, targets
from mcwbuild.contract.errors import InputError


def test_the_table_and_the_schema_name_the_same_chips() -> None:
    target = schemas.schema("common")["$defs"]["target"]
    assert set(target["enum"]) == set(targets.TARGETS)


def test_names_are_taken_in_any_case() -> None:
    assert targets.find("RK3588").name == "rk3588"


def test_unknown_chips_are_refused_with_the_list() -> None:
    with pytest.raises(InputError, match="rk3562, rk3566") as caught:
        targets.find("rk3558")
    assert "Did you mean rk3" in caught.value.remedy


@pytest.mark.parametrize("name", ["rv1103", "rv1103b", "rv1106", "rv1106b"])
def test_small_chips_have_no_fp16(name: str) -> None:
    assert targets.find(name).fp16
    assert not targets.find(name).int8
    assert not targets.find(name).lite


def test_rk2118_has_no_int8() -> None:
    assert targets.find("rk2118").int8
    assert not targets.find("rk2118").fp16


def test_twins_run_each_others_files() -> None:
    assert targets.find("rk3588s").chips == targets.find("rk3588").chips == ("rk3588", "rk3588s")
    assert targets.find("rk3562").chips == ("rk3562",)


def test_core_masks_exist_on_multi_core_chips_only() -> None:
    assert "NPU_CORE_0_1_2" in targets.find("rk3588").core_masks
    assert "NPU_CORE_2" not in targets.find("rk3576").core_masks
    assert targets.find("rk3566").core_masks == ()
