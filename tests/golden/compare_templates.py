#!/usr/bin/env python3
"""Compares io/jinja with Jinja2 as transformers sets it up.

    compare_templates.py templates TOOL FOLDER     every *.jinja of FOLDER on eight conversations
    compare_templates.py training TOOL FOLDER      which parts of those texts are trained on
    compare_templates.py expressions TOOL [COUNT]  random expressions (3000)

TOOL is build/release/tests/render_templates. Needs jinja2 3.1.6 and transformers 5.24. Fails if fewer than 60 templates
are equal, if one differs without being refused, or if an expression differs.
"""
import collections
import datetime
import json
import random
import subprocess
import sys
from pathlib import Path

import transformers.utils.chat_template_utils as chat

NOW = [2026, 3, 5, 14, 7, 9]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*NOW)


chat.datetime = Clock


def tool(name, properties, required):
    return {"type": "function", "function": {"name": name, "description": f"Does {name} <now> & \"here\".", "parameters": {
        "type": "object", "properties": properties, "required": required}}}


TOOLS = [
    tool("get_weather", {"city": {"type": "string", "description": "The city's name"},
                         "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                         "days": {"type": ["integer", "null"], "minimum": 1}}, ["city"]),
    tool("add", {"numbers": {"type": "array", "items": {"type": "number"}},
                 "options": {"type": "object", "properties": {"exact": {"type": "boolean"}}, "required": []}}, ["numbers"]),
]


def call(name, arguments, number="call00001"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


USER = {"role": "user", "content": "What is 2 + 2?"}
ANSWER = {"role": "assistant", "content": "It is 4."}
CONVERSATIONS = {
    "one turn": dict(messages=[USER], add_generation_prompt=True),
    "system, several turns": dict(messages=[
        {"role": "system", "content": "Be brief.\n\nAnd kind."}, USER, ANSWER,
        {"role": "user", "content": "  And 3 + 3? \n"}, {"role": "assistant", "content": "\n 6 "},
        {"role": "user", "content": "Thanks!"}], add_generation_prompt=True),
    "answered": dict(messages=[{"role": "system", "content": ""}, USER, ANSWER], add_generation_prompt=False),
    "empty content": dict(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
                          add_generation_prompt=False),
    "Unicode": dict(messages=[
        {"role": "user", "content": "Grüße \U0001F600 日本語 \u2028 <|im_start|> {{ 7 * 7 }} {% raw %} 'q' \"d\" \\ \t."},
        {"role": "assistant", "content": "ΣΑΣ ǆ ß İ\u0301 e\u0301 \u00a0"}], add_generation_prompt=False),
    "tool calls": dict(messages=[
        {"role": "system", "content": "Use tools."}, {"role": "user", "content": "Weather in Zürich?"},
        {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Zürich", "days": 2, "unit": None})]},
        {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"t\": 21.5}"},
        {"role": "assistant", "content": "21.5 degrees."}, {"role": "user", "content": "Thanks"}],
        tools=TOOLS, add_generation_prompt=True),
    "tool calls, arguments as text": dict(messages=[
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": "Adding.", "tool_calls": [
            call("add", "{\"numbers\": [1, 2.5, 1e20]}", "abcdefgh1"), call("get_weather", "{\"city\": \"Rome\"}", "abcdefgh2")]},
        {"role": "tool", "name": "add", "tool_call_id": "abcdefgh1", "content": "3.5"},
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefgh2", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "assistant", "content": "3.5 and sunny."}], tools=TOOLS[:1], add_generation_prompt=False),
    "thinking and parts": dict(messages=[
        {"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "text", "text": " so?"}]},
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSo.", "reasoning_content": "Hm."},
        {"role": "user", "content": "Again?"},
        {"role": "assistant", "content": "Again.", "thinking": "Once more."}], add_generation_prompt=False,
        enable_thinking=False, documents=[{"title": "T", "text": "Body"}]),
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def variables(conversation):
    """What transformers gives a template for a conversation."""
    given = dict(conversation)
    messages = chat._alias_reasoning_fields(chat._normalize_chat_messages(given.pop("messages")))
    return {"messages": messages, "tools": given.pop("tools", None), "documents": given.pop("documents", None),
            **SPECIAL, **given}


def expected(source, names):
    """The text and the spans of generation blocks (bytes), or the error."""
    try:
        compiled = chat._compile_jinja_template(source)
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**json.loads(json.dumps(names))):
                blocks.append(block)
        text = "".join(blocks)
        return {"text": text, "generations": [[len(text[:at].encode()) for at in span] for span in spans]}
    except Exception as error:  # whatever Jinja2 raises: the template cannot render this
        return {"error": f"{type(error).__name__}: {error}"}


def ask(program, cases):
    return ask_all(program, [{"source": source, "variables": names, "now": NOW} for source, names in cases])


def ask_all(program, samples):
    run = subprocess.run([program], input=json.dumps(samples), capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{program} ended with {run.returncode}: {run.stderr[-2000:]}")
    return json.loads(run.stdout)


def difference(ours, theirs):
    """Nothing, "refused" or "differs"."""
    if "error" in theirs:
        return "" if "error" in ours else "differs"
    if "error" in ours:
        return "refused"
    same = ours["text"] == theirs["text"] and (ours["problem"] or ours["generations"] == theirs["generations"])
    return "" if same else "differs"


def compare_templates(program, folder):
    counts = collections.Counter()
    equal_renderings = 0
    files = sorted(Path(folder).glob("*.jinja"))
    for file in files:
        source = file.read_text(encoding="utf-8")
        cases = [(source, variables(conversation)) for conversation in CONVERSATIONS.values()]
        worst = ""
        for name, case, ours in zip(CONVERSATIONS, cases, ask(program, cases)):
            theirs = expected(*case)
            found = difference(ours, theirs)
            equal_renderings += not found and "text" in theirs
            if not found:
                continue
            print(f"{file.name}, {name}: {found}: {ours.get('error', '')}")
            if found == "differs" and "error" in theirs:
                print(f"  Jinja2: {theirs['error']}")
            elif found == "differs":
                print(f"  ours:   {ours['text']!r} {ours['generations']}\n  Jinja2: {theirs['text']!r} {theirs['generations']}")
            worst = "differs" if "differs" in (found, worst) else found
        counts[worst] += 1
    print(f"{counts['']} of {len(files)} templates are equal to Jinja2 on {len(CONVERSATIONS)} conversations "
          f"({equal_renderings} texts), {counts['refused']} refused, {counts['differs']} differ")
    return counts["differs"] == 0 and counts[""] >= min(60, len(files))


def check_training(result, source, conversation):
    """What is wrong with the texts and spans of a conversation; nothing if they are as Jinja2 renders its parts."""
    messages, trained = conversation["messages"], []
    declared = expected(source, variables({**conversation, "add_generation_prompt": False}))
    if declared.get("generations"):  # the template itself says what is generated
        spans = [span[:2] for text in result["texts"] for span in text["spans"]]
        return "" if spans == [span for span in declared["generations"] if span[0] < span[1]] else f"{spans}, declared {declared}"
    for text in result["texts"]:
        whole = text["text"].encode()
        for begin, end, message, follows_prompt in text["spans"]:
            trained.append(message)
            before = expected(source, variables({**conversation, "messages": messages[:message], "add_generation_prompt": True}))
            through = expected(source, variables({**conversation, "messages": messages[:message + 1], "add_generation_prompt": False}))
            prompt, turn = before["text"].encode(), through["text"].encode()
            right = whole[:begin] == prompt
            if not follows_prompt:
                right = not turn.startswith(prompt) and (
                    prompt.startswith(whole[:begin]) or begins_as_plain(source, conversation, message, prompt, whole[:begin]))
            if not right or not turn.startswith(whole[:end]) or turn[end:].strip():
                return f"message {message}: {whole[begin:end]!r} after {whole[:begin][-80:]!r}"
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant" and adds_text(source, conversation, index)]
    return "" if sorted(trained) == turns else f"messages {trained} of {turns}"


def begins_as_plain(source, conversation, message, prompt, start):
    """Whether `start` is what stands before the text of a turn of text alone, and shares the earlier messages with the prompt."""
    mark, messages = "\U000F1234", conversation["messages"][:message]
    earlier = expected(source, variables({**conversation, "messages": messages, "add_generation_prompt": False}))["text"].encode()
    plain = [*messages, {"role": "assistant", "content": mark}]
    text = expected(source, variables({**conversation, "messages": plain, "add_generation_prompt": False}))["text"]
    return text.split(mark)[0].encode() == start and start.startswith(earlier) and prompt.startswith(earlier)


def adds_text(source, conversation, message):
    messages = conversation["messages"]
    before = expected(source, variables({**conversation, "messages": messages[:message], "add_generation_prompt": True}))
    through = expected(source, variables({**conversation, "messages": messages[:message + 1], "add_generation_prompt": False}))
    if before["text"] == through["text"]:
        return False
    ends = (through["text"], through["text"].rstrip())  # where plain text would begin: a turn of nothing
    return not any(begins_as_plain(source, conversation, message, before["text"].encode(), end.encode()) for end in ends)


def compare_training(program, folder):
    counts = collections.Counter()
    for file in sorted(Path(folder).glob("*.jinja")):
        source = file.read_text(encoding="utf-8")
        samples = [{"source": source, "now": NOW, "special_tokens": SPECIAL,
                    "conversation": {key: value for key, value in conversation.items() if key != "add_generation_prompt"}}
                   for conversation in CONVERSATIONS.values()]
        for (name, conversation), result in zip(CONVERSATIONS.items(), ask_all(program, samples)):
            if "error" in result:
                whole = expected(source, variables({**conversation, "add_generation_prompt": False}))
                counts["refused" if "text" in whole else "refused by the template"] += 1
                if "text" in whole:
                    print(f"{file.name}, {name}: {result['error'][:300]}")
                continue
            wrong = check_training(result, source, conversation)
            counts["wrong" if wrong else f"right in {len(result['texts'])} texts"] += 1
            if wrong:
                print(f"{file.name}, {name}: WRONG: {wrong}")
    print("conversations: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    return counts["wrong"] == 0


class Expressions:
    """Random expressions and small templates, of strings, numbers, lists, dicts, filters, tests and methods."""

    ATOMS = ["0", "1", "2", "-3", "7", "100", "1.5", "-0.25", "3.0", "1e20", "1e-7", "true", "false", "none", "''", "'a'", "'b c'",
             "'Hello World'", "' x '", "'é日\U0001F600'", "'A,b,C'", "'line\\nline2'", "\"it's\"", "'<a&\"b>'", "[]", "[1, 2, 3]",
             "['b', 'A', 'c']", "[3, 1, 2]", "(1,)", "(1, 'x')", "{}", "{'b': 1, 'a': [2]}", "{'k': none, 1: 'one'}", "[none, 1.0, true]",
             "undef", "s", "n", "f", "l", "d", "users", "deep.x.y", "deep.z", "range(4)", "'12'", "'3.7'", "'ΣΑΣ ß'"]
    BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
    FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "list", "string", "int", "float", "abs",
               "round", "round(1)", "round(1, 'ceil')", "round(-1)", "reverse|list", "sort", "sort(reverse=true)", "unique|list", "min",
               "max", "sum", "join", "join(', ')", "join('-', attribute='name')", "default('D')", "d('D', true)", "tojson",
               "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'), sort_keys=true)", "replace('a', 'X')",
               "replace('l', '', 1)", "indent", "indent(2, true)", "items|list", "dictsort", "dictsort(by='value')",
               "map('upper')|list", "map(attribute='name')|list", "map(attribute='age', default=0)|list", "select|list",
               "select('string')|list", "reject('none')|list", "selectattr('age', 'gt', 20)|list", "rejectattr('age')|list",
               "batch(2)|list", "batch(2, 'f')|list", "slice(2)|list", "slice(3, 0)|list", "center(9)", "truncate(8)",
               "truncate(8, true, '..', 0)", "wordcount", "urlencode", "e", "safe", "escape|upper", "format(1, 2)", "count",
               "attr('name')", "map('int')|sum", "map('length')|list"]
    TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping",
             "sequence", "iterable", "callable", "odd", "even", "divisibleby 3", "lower", "upper", "in [1, 'a', none]",
             "eq 1", "ne 'a'", "lt 2", "ge 1", "not none", "not string", "sameas none", "escaped", "filter", "test"]
    METHODS = ["strip()", "lstrip()", "rstrip('\\nd')", "split()", "split(' ')", "split(',', 1)", "rsplit(' ', 1)", "splitlines()",
               "upper()", "lower()", "title()", "capitalize()", "swapcase()", "startswith('H')", "endswith(('d', 'c'))", "find('o')",
               "rfind('o')", "find('l', 4)", "index('o')", "count('l')", "replace('l', 'LL')", "replace('', '-')", "join(['x', 'y'])",
               "zfill(5)", "center(8, '*')", "ljust(6, '.')", "rjust(6)", "isdigit()", "isalpha()", "isupper()", "islower()",
               "isspace()", "isalnum()", "istitle()", "partition(' ')", "rpartition('l')", "removeprefix('He')", "removesuffix('d')",
               "format(1, x=2)", "items()|list", "keys()", "values()", "items()", "get('a')", "get('zz', 5)", "copy()", "append(1)",
               "pop('a')", "update({})", "index(2)", "nothing", "nothing()", "x", "name", "0", "b"]
    SUBSCRIPTS = ["[0]", "[-1]", "[5]", "['a']", "['x']", "[1:]", "[:2]", "[::-1]", "[-2:]", "[::2]", "[1:3]", "[none]", "[1.0]", "[true]",
                  "['items']", "[5:1:-2]"]
    FORMATS = ["'%s' % {}", "'%r|%5s' % ({}, {})", "'%d' % {}", "'%.2f' % {}", "'%05d|%x' % ({}, {})", "'%-6s|' % {}", "'%+d' % {}",
               "'%e' % {}", "'%g' % {}", "'{{}}-{{0}}'.format({})", "'{{}} {{!r}}'.format({}, {})", "'{{:>6}}|{{:<4}}|'.format({}, {})",
               "'{{:.3f}}'.format({})", "'{{:05d}}'.format({})", "'{{:,}}'.format({})", "'{{x}}'.format(x={})", "'%(a)s' % {}", "'%c' % {}",
               "'{{:^7}}'.format({})", "'{{:x}}'.format({})", "'{{:.2%}}'.format({})", "'{{:e}}'.format({})", "'%5.1f|' % {}", "'%i%%' % {}"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def make(self, depth):
        pick = self.random.choice
        if depth <= 0 or self.random.random() < 0.1:
            return pick(self.ATOMS)
        kind = self.random.randrange(12)
        inner = lambda: self.make(depth - 1)
        if kind < 3:
            return f"({inner()} {pick(self.BINARY)} {inner()})"
        if kind < 6:
            return f"({inner()})|{pick(self.FILTERS)}"
        if kind == 6:
            return f"({inner()} is {pick(self.TESTS)})"
        if kind == 7:
            return f"({inner()}).{pick(self.METHODS)}"
        if kind == 8:
            return f"({inner()}){pick(self.SUBSCRIPTS)}"
        if kind == 9:
            return f"({inner()} if {inner()} else {inner()})"
        if kind == 10:
            form = pick(self.FORMATS)
            return "(" + form.format(*[inner() for _ in range(4)]) + ")"
        return pick([f"[{inner()}, {inner()}]", f"{{'k': {inner()}, 'a': {inner()}}}", f"(not {inner()})", f"(-{inner()})",
                     f"({inner()} < {inner()} < {inner()})", f"({inner()}, {inner()})", f"{inner()} ~ {inner()}"])

    def template(self):
        expression = self.make(self.random.randrange(1, 4))
        form = self.random.randrange(8)
        if form == 0:
            return f"{{% for x in {expression} %}}[{{{{ x }}}}{{{{ loop.index }}}}{{{{ ',' if not loop.last }}}}]{{% else %}}none{{% endfor %}}"
        if form == 1:
            return f"{{% set v = {expression} %}}\n  {{% if v %}}\nyes {{{{ v }}}}\n  {{%- else -%}} no {{% endif %}}\n."
        if form == 2:
            return f"{{% macro m(a, b='B') -%}} <{{{{ a }}}}|{{{{ b }}}}> {{%- endmacro %}}{{{{ m({expression}) }}}}{{{{ m(1, b={expression}) }}}}"
        return f"{{{{ {expression} }}}}"


NAMES = {"s": "Some Text, here", "n": 42, "f": 2.5, "l": [4, "x", None], "d": {"a": 1, "items": "own", "nested": {"k": [1]}},
         "users": [{"name": "Ann", "age": 30}, {"name": "bob", "age": 17}, {"name": "Cy"}], "deep": {"x": {"y": "z"}}}
# What this engine refuses by name though Python has a result: see io/jinja/template.hpp.
ALLOWED = ["beyond 64 bits", "is printed", "is not supported", "views of dicts", "supported; use", "a str is formatted like",
           "too large for a float", "more than 100000 items",
           "is sliced",  # Jinja2 gives Undefined for constants, which it folds, and refuses the same of variables
           "only strings are supported"]


def expression_cases(count, seed=1):
    generator = Expressions(seed)
    return [(generator.template(), NAMES) for _ in range(count)]


def compare_expressions(program, count):
    cases = expression_cases(count)
    counts = collections.Counter()
    for (source, names), ours in zip(cases, ask(program, cases)):
        theirs = expected(source, names)
        if " at 0x" in theirs.get("text", ""):  # an address: the same in no two runs
            counts["addresses"] += 1
            continue
        found = difference(ours, theirs)
        if found == "refused" and any(reason in ours["error"] for reason in ALLOWED):
            counts["refused by name"] += 1
        elif found:
            counts["different"] += 1
            if counts["different"] <= 40:
                print(f"{source!r}\n  ours:   {ours.get('text', ours.get('error'))!r}\n  Jinja2: {theirs.get('text', theirs.get('error'))!r}")
        else:
            counts["errors in both" if "error" in theirs else "equal"] += 1
    print(f"{count} random templates: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    return counts["different"] == 0


def main():
    what, program = sys.argv[1:3]
    if what == "templates":
        good = compare_templates(program, sys.argv[3])
    elif what == "training":
        good = compare_training(program, sys.argv[3])
    else:
        good = compare_expressions(program, int(sys.argv[3]) if len(sys.argv) > 3 else 3000)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
