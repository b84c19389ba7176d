"""Commands in comments on a change: `/envmatrix run`. Whoever can comment writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import date
from typing import Literal, TypeAlias, get_args

from envmatrix.matrix.tier_names import TIERS
from envmatrix.pipeline.triggers import CELLS, LIBRARIES, RERUN, TIER
from envmatrix.records import dataclass
from envmatrix.suggestions import known_names
from envmatrix.text import one_line

WORD = "/envmatrix"
Verb = Literal["run", "only", "rerun", "reuse", "waive"]
VERBS: tuple[Verb, ...] = get_args(Verb)
USAGES: Mapping[Verb, str] = {
    "run": "/envmatrix run [CELL...] [--library NAME]... [--tier TIER]",
    "only": "/envmatrix only CELL...",
    "rerun": "/envmatrix rerun [failed|all]",
    "reuse": "/envmatrix reuse",
    "waive": "/envmatrix waive BUG TEST [--library NAME] [--cell CELL] [--until DATE]",
}

# Limits of what a comment may have. GitHub's own are 65536 characters.
LONGEST_COMMENT = 65_536
MOST_COMMANDS = 5
MOST_WORDS = 50
LONGEST_WORD = 500
# The most characters of a word in an answer.
_MOST_SHOWN = 80

# A command that starts a pipeline goes to engines as inputs, with spaces between words. So names
# of cells and libraries are refused that have other characters than those of names and globs.
_NAME = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._@*?!\[\]-]{0,199}", re.ASCII)
# The cells of changes, and all.
_OF_CHANGES, _ALL = TIERS[0], TIERS[-1]
# Words are separated by blanks; quotes are for those that have blanks inside.
_QUOTED = re.compile(r"""(?:"([^"]*)"|'([^']*)'|`([^`]*)`)(?=[ \t]|$)""")
_BARE = re.compile(r"[^ \t]+")

_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}(?=[^`]*$)|~{3,})")
_QUOTE = re.compile(r" {0,3}>")
_HTML_BLOCK = re.compile(r" {0,3}<(?P<tag>pre|script|style|textarea)(?=[\s>]|$)", re.IGNORECASE)
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Start:
    """A command that starts a pipeline, with its inputs by the names of variables."""

    verb: Verb
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Waive:
    """A proposal to waive the failures of a test because of a bug, until a day."""

    bug: str
    test: str
    library: str = "*"
    cell: str = "*"
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A command that means nothing, and what could be meant. Both have words of the comment, each
    as `code`."""

    message: str
    hint: str


Command: TypeAlias = Start | Waive | Mistake


class _Wrong(ValueError):
    """A command means nothing."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.mistake = Mistake(message, hint)


@dataclass(frozen=True)
class _Words:
    """The words of a command: those without an option, and the values of options."""

    plain: Sequence[str]
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def one(self, option: str, default: str) -> str:
        values = self.options.get(option, ())
        if len(values) > 1:
            raise _Wrong(f"{code(f'--{option}')} is there twice", "write it once")
        return values[0] if values else default


def commands_of(text: str) -> tuple[Command, ...]:
    """Return the commands of a comment, in order; none if it has no line that begins with
    `/envmatrix`. At most one starts a pipeline."""
    if len(text) > LONGEST_COMMENT:
        return ()
    lines = [*_command_lines(text)]
    if len(lines) > MOST_COMMANDS:
        hint = f"write {MOST_COMMANDS} at most in a comment"
        return (Mistake(f"there are {len(lines)} commands", hint),)
    commands = [*map(_command, lines)]
    starts = [command for command in commands if isinstance(command, Start)]
    if len(starts) > 1:
        words = " and ".join(code(f"{WORD} {start.verb}") for start in starts)
        hint = "write one in a comment: each starts a pipeline"
        mistake = Mistake(f"{words} are in one comment", hint)
        return (*(command for command in commands if not isinstance(command, Start)), mistake)
    return tuple(commands)


def usage() -> str:
    """Return how each command is written, as Markdown."""
    return "\n".join(f"- {code(text)}" for text in USAGES.values())


def code(text: str) -> str:
    """Return text from outside as code in Markdown, in one line, where nothing in it has a
    meaning."""
    line = one_line(text[:LONGEST_WORD]).strip(" ") or " "
    line = line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}…"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    marks, blank = "`" * (longest + 1), " " if "`" in line else ""
    return f"{marks}{blank}{line}{blank}{marks}"


def _command_lines(text: str) -> Iterator[str]:
    """Yield the lines that are commands: neither in code, nor in quotes, nor invisible."""
    for paragraph in _paragraphs(text):
        whole, start = "\n".join(paragraph), 0
        spans = [match.span() for match in _CODE_SPAN.finditer(whole)]
        for line in paragraph:
            if _is_command(line) and not any(begin < start < end for begin, end in spans):
                yield line
            start += len(line) + 1


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Yield the lines of each paragraph that is plain text in Markdown."""
    fence = closing_tag = ""
    is_comment = is_quote = False
    paragraph: list[str] = []
    for line in re.split(r"\r\n|\n|\r", text):
        if is_comment:
            is_comment = "-->" not in line
        elif closing_tag:
            closing_tag = "" if closing_tag in line.lower() else closing_tag
        elif fence:
            mark = line.strip(" \t")
            is_end = bool(mark) and mark == fence[0] * len(mark) and len(mark) >= len(fence)
            fence = "" if is_end else fence
        elif match := _FENCE.match(line):
            fence, is_quote = match["mark"], False
            yield paragraph
            paragraph = []
        elif match := _HTML_BLOCK.match(line):
            tag = f"</{match['tag'].lower()}>"
            closing_tag = "" if tag in line.lower() else tag
        elif not line.strip():
            is_quote = False
            yield paragraph
            paragraph = []
        elif _QUOTE.match(line) or is_quote:
            is_quote = True  # also of lines after it, up to an empty one
        else:
            before, comment, rest = line.rpartition("<!--")
            is_comment = bool(comment) and "-->" not in rest
            paragraph.append(before if is_comment else line)
    yield paragraph


def _is_command(line: str) -> bool:
    return line.startswith(WORD) and line[len(WORD) :][:1] in ("", " ", "\t")


def _command(line: str) -> Command:
    try:
        verb, *words = _words(line[len(WORD) :]) or [""]
        for name in VERBS:
            if verb == name:
                return _COMMANDS[name](_sorted_out(name, words))
        if not verb:
            raise _Wrong(f"{code(WORD)} needs a word after it", _one_of(VERBS))
        raise _Wrong(f"there is no command {code(verb)}", _known(verb, VERBS))
    except _Wrong as error:
        return error.mistake


def _words(text: str) -> list[str]:
    """Return words, each of them as it stands or within quotes."""
    words = list[str]()
    text = text.strip(" \t")
    while text:
        quoted = _QUOTED.match(text)
        if quoted is None and text[0] in "\"'`":
            raise _Wrong(f"a quote is open in {code(text)}", "close it, and put a blank after it")
        bare = quoted or _BARE.match(text)
        assert bare is not None  # noqa: S101 -- the text does not begin with a blank
        words.append(next(filter(None, quoted.groups()), "") if quoted else bare[0])
        text = text[bare.end() :].lstrip(" \t")
    if len(words) > MOST_WORDS:
        raise _Wrong(f"a command has {len(words)} words", f"write {MOST_WORDS} at most")
    if long := [word for word in words if len(word) > LONGEST_WORD]:
        raise _Wrong(f"{code(long[0])} is too long", f"write {LONGEST_WORD} characters at most")
    return words


_OPTIONS: Mapping[Verb, Sequence[str]] = {
    "run": ("library", "tier"),
    "only": (),
    "rerun": (),
    "reuse": (),
    "waive": ("library", "cell", "until"),
}


def _sorted_out(verb: Verb, words: Sequence[str]) -> _Words:
    """Return the words of a command without its options, and these: `--tier pr`, `--tier=pr`."""
    plain, options = list[str](), dict[str, list[str]]()
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            plain.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name not in _OPTIONS[verb]:
            names = [f"--{option}" for option in _OPTIONS[verb]]
            hint = _known(word, names) if names else "it has no options"
            raise _Wrong(f"{code(f'{WORD} {verb}')} has no option {code(word)}", hint)
        value = value if equals else next(rest, "")
        if not value or value.startswith("--"):
            raise _Wrong(f"{code(f'--{name}')} needs a value", _usage(verb))
        options.setdefault(name, []).append(value)
    return _Words(plain, options)


def _run(words: _Words) -> Start:
    tier = words.one("tier", "")
    if tier and tier not in TIERS:
        raise _Wrong(f"there is no tier {code(tier)}", _known(tier, TIERS))
    inputs = {
        CELLS: _names("cell", words.plain),
        LIBRARIES: _names("library", words.options.get("library", ())),
        TIER: tier or (_ALL if words.plain else _OF_CHANGES),
    }
    return Start("run", {name: value for name, value in inputs.items() if value})


def _only(words: _Words) -> Start:
    if not words.plain:
        raise _Wrong(f"{code('/envmatrix only')} names no cell", _usage("only"))
    return Start("only", {CELLS: _names("cell", words.plain), TIER: _ALL})


def _rerun(words: _Words) -> Start:
    choices = ("failed", "all")
    what, *others = words.plain or ("failed",)
    if what not in choices or others:
        wrong = others[0] if what in choices else what
        raise _Wrong(f"{code('/envmatrix rerun')} takes no {code(wrong)}", _known(wrong, choices))
    return Start("rerun", {TIER: _OF_CHANGES, RERUN: what})


def _reuse(words: _Words) -> Start:
    if words.plain:
        hint = f"cells are for {code('/envmatrix run')}"
        raise _Wrong(f"{code('/envmatrix reuse')} takes no {code(words.plain[0])}", hint)
    return Start("reuse", {TIER: _OF_CHANGES, RERUN: "none"})


def _waive(words: _Words) -> Waive:
    if len(words.plain) != 2:
        hint = f"{_usage('waive')}; a name with blanks is in quotes"
        raise _Wrong(f"{code('/envmatrix waive')} takes a bug and a test", hint)
    bug, test = words.plain
    if not bug.strip() or not test.strip():
        raise _Wrong("the bug and the test cannot be empty", _usage("waive"))
    until = words.one("until", "")
    return Waive(
        bug,
        test,
        _names("library", [words.one("library", "*")]),
        _names("cell", [words.one("cell", "*")]),
        _day(until) if until else None,
    )


_COMMANDS: Mapping[Verb, Callable[[_Words], Start | Waive]] = {
    "run": _run,
    "only": _only,
    "rerun": _rerun,
    "reuse": _reuse,
    "waive": _waive,
}


def _day(text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _Wrong(f"{code(text)} is no day", "write it as `2027-01-31`")


def _names(kind: str, names: Sequence[str]) -> str:
    """Return names with blanks between them."""
    for name in names:
        if not _NAME.fullmatch(name):
            hint = "names and globs have letters, digits and `.`, `_`, `-`, `@`, `*`, `?`, `[]`"
            raise _Wrong(f"{code(name)} is no {kind}", hint)
    return " ".join(names)


def _usage(verb: Verb) -> str:
    return f"write {code(USAGES[verb])}"


def _one_of(words: Sequence[str]) -> str:
    return f"write one of {', '.join(map(code, words))}"


def _known(word: str, words: Sequence[str]) -> str:
    return known_names(word[:_MOST_SHOWN], words)
