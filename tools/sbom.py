#!/usr/bin/env python3
"""Writes a CycloneDX 1.6 software bill of materials of the `tradelane` binary, from `cargo metadata` and Cargo.lock.

    tools/sbom.py [--features LIST] [--target TRIPLE] > tradelane.cdx.json

Holds what is linked or runs while building (normal and build dependencies, proc macros included), with licences, SHA-256
of each crate's archive as in Cargo.lock, and who depends on whom. Crates that only tests need are left out. The output
depends on the lock file alone: no time and no random serial number, so that two builds can be compared.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tomllib
import uuid

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--features", default="postgres")
    arguments.add_argument("--target", default="x86_64-unknown-linux-gnu")
    options = arguments.parse_args()

    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", options.target]
    command += ["--features", f"tradelane/{options.features}"] if options.features else []
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    with open("Cargo.lock", "rb") as file:
        lock = file.read()
    checksums = {(p["name"], p["version"]): p["checksum"] for p in tomllib.loads(lock.decode())["package"] if "checksum" in p}

    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(p["id"] for p in metadata["packages"] if p["name"] == "tradelane" and p["id"] in metadata["workspace_members"])

    # `cargo metadata` also walks into optional dependencies that only a weak feature names; `cargo tree` does not.
    tree = ["cargo", "tree", "--locked", "-p", "tradelane", "--target", options.target, "-e", "normal,build"]
    tree += ["--prefix", "none", "--no-dedupe", "--format", "{p}"] + (["--features", options.features] if options.features else [])
    listed = subprocess.run(tree, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = {(line.split()[0], line.split()[1].removeprefix("v")) for line in listed.splitlines() if line}

    edges, reached, waiting = {}, set(), [root]
    while waiting:
        package = waiting.pop()
        if package in reached:
            continue
        reached.add(package)
        needs = {
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
            and (packages[dependency["pkg"]]["name"], packages[dependency["pkg"]]["version"]) in built
        }
        edges[package] = needs
        waiting.extend(needs)

    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(lock).digest()[:16], version=5)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "tools/sbom.py"}]},
            "component": component(packages[root], checksums, "application"),
        },
        "components": [
            component(packages[package], checksums, "library") for package in sorted(reached - {root}, key=lambda p: reference(packages[p]))
        ],
        "dependencies": [
            {"ref": reference(packages[package]), "dependsOn": sorted(reference(packages[need]) for need in edges[package])}
            for package in sorted(reached, key=lambda p: reference(packages[p]))
        ],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums, kind):
    made = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    if package.get("license"):
        made["licenses"] = [{"expression": package["license"].replace(" / ", "/").replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if package.get("source") not in (None, CRATES_IO):
        sys.exit(f"{package['name']} comes from {package['source']}, which deny.toml does not allow")
    return made


if __name__ == "__main__":
    main()
