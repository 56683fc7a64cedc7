"""What `colcon build` and pip both need beyond pyproject.toml: the files that ROS looks for under share/ and lib/."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "storm_ros"

# Repeated from pyproject.toml for the setuptools of Ubuntu 22.04 (59.6), which does not read metadata from there.
setup(
    name=PACKAGE,
    version="0.1.0",
    python_requires=">=3.10",
    packages=find_packages(include=["storm_core", "storm_core.*", "storm_ros", "storm_ros.*"]),
    package_data={"storm_core.benchmarks.adapters": ["*.cpp"],
                  "storm_ros.interfaces": ["definitions/*/package.xml", "definitions/*/msg/*.msg"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{PACKAGE}/config", sorted(glob("config/*.*"))),
        (f"share/{PACKAGE}/config/score", sorted(glob("config/score/*.yaml"))),
        (f"share/{PACKAGE}/config/refiner", sorted(glob("config/refiner/*.yaml"))),
        (f"share/{PACKAGE}/models", ["models/manifest.yaml", "models/README.md", *sorted(glob("models/*.npz")),
                                      *sorted(glob("models/*.safetensors"))]),
        (f"lib/{PACKAGE}", sorted(glob("resource/executables/*"))),
    ],
    entry_points={"console_scripts": ["storm = storm_core.cli.main:main"]},
    zip_safe=False,
)
