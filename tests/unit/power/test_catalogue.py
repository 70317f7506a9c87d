import pytest

from wattkeeper.power.catalogue import UNKNOWN_GPU, gpu_model, kind_priors


@pytest.mark.parametrize(
    ("name", "limit_watts"),
    [
        ("NVIDIA-H100-80GB-HBM3x8", 700.0),
        ("NVIDIA H100 80GB HBM3", 700.0),
        ("NVIDIA-H100-PCIex4", 350.0),
        ("NVIDIA H100 NVL", 400.0),
        ("NVIDIA-H200x8", 700.0),
        ("NVIDIA-H200-NVLx4", 600.0),
        ("NVIDIA-GH200-480GBx1", 1000.0),
        ("NVIDIA-A100-SXM4-80GBx8", 400.0),
        ("NVIDIA-A100-PCIE-40GBx2", 250.0),
        ("NVIDIA-A100-80GB-PCIex2", 300.0),
        ("NVIDIA A100 80GB PCIe", 300.0),
        ("NVIDIA-L40Sx4", 350.0),
        ("NVIDIA-L40x4", 300.0),
        ("NVIDIA-L4x1", 72.0),
        ("NVIDIA-A10x1", 150.0),
        ("NVIDIA-A10Gx1", 300.0),
        ("Tesla-T4x1", 70.0),
        ("Tesla-V100-SXM2-16GBx8", 300.0),
        ("Tesla-V100-PCIE-16GBx2", 250.0),
        ("NVIDIA-B200x8", 1000.0),
        ("NVIDIA-GB200x4", 1200.0),
        ("AMD_Instinct_MI300X_OAMx8", 750.0),
        ("AMD-Instinct-MI250Xx4", 560.0),
    ],
)
def test_a_product_has_the_limit_of_its_data_sheet(name: str, limit_watts: float) -> None:
    assert gpu_model(name).limit_watts == limit_watts


@pytest.mark.parametrize("name", ["Radeon-Next-9000x2", "", "cpu", "NVIDIA-L4000x1"])
def test_a_product_that_nobody_knows_is_charged_high(name: str) -> None:
    assert gpu_model(name) is UNKNOWN_GPU


def test_kinds_are_looked_up_in_order() -> None:
    priors = kind_priors(("NVIDIA-L4x1", "cpu"))
    assert priors.limit_watts.tolist() == [72.0, UNKNOWN_GPU.limit_watts]
    assert priors.idle_watts.tolist() == [17.0, UNKNOWN_GPU.idle_watts]
