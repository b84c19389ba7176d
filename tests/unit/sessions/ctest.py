"""A list of tests as CTest 3.25 prints it, and the build that it is of."""

from __future__ import annotations

from envmatrix.sessions.test_dependencies import NinjaGraph

# Without line breaks and backtraces. CTest adds what follows from fixtures to DEPENDS.
CTEST = """\
{"kind": "ctestInfo", "version": {"major": 1, "minor": 0}, "tests": [
{"command": ["/build/setup"], "name": "setup", "properties": [
 {"name": "FIXTURES_SETUP", "value": ["F"]},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/cleanup"], "name": "cleanup", "properties": [
 {"name": "DEPENDS", "value": ["t6", "setup"]},
 {"name": "FIXTURES_CLEANUP", "value": ["F"]},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t1"], "name": "t1", "properties": [
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t2"], "name": "t2", "properties": [
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t6"], "name": "t6", "properties": [
 {"name": "DEPENDS", "value": ["setup"]},
 {"name": "FIXTURES_REQUIRED", "value": ["F"]},
 {"name": "FIXTURES_SETUP", "value": ["G"]},
 {"name": "RESOURCE_LOCK", "value": ["gpu"]},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t7"], "name": "t7", "properties": [
 {"name": "DEPENDS", "value": ["t6"]},
 {"name": "ENVIRONMENT", "value": ["PLUGIN=/build/libplugin.so"]},
 {"name": "FIXTURES_REQUIRED", "value": ["G"]},
 {"name": "WILL_FAIL", "value": true},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t12"], "name": "t12", "properties": [
 {"name": "DEPENDS", "value": ["t1"]},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t13"], "name": "t13", "properties": [
 {"name": "DEPENDS", "value": ["t12"]},
 {"name": "REQUIRED_FILES", "value": ["/src/t2.cpp"]},
 {"name": "WORKING_DIRECTORY", "value": "/build"}]},
{"command": ["/build/t2", "--in=/src/data/d.txt"], "name": "reads", "properties": [
 {"name": "WORKING_DIRECTORY", "value": "/build"}]}
]}
"""
# Each program is linked of one object, and the plugin as well.
_PROGRAMS = ("setup", "cleanup", "t1", "t2", "t6", "t7", "t12", "t13", "libplugin.so")
BUILD = NinjaGraph(
    {name: frozenset({f"{name}.o"}) for name in _PROGRAMS},
    {f"{name}.o": frozenset({f"/src/{name.partition('.')[0]}.cpp"}) for name in _PROGRAMS},
)
