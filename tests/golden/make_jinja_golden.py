#!/usr/bin/env python3
"""Makes jinja.json with Jinja2 as transformers sets it up (made with jinja2 3.1.6, transformers 5.24).

    python tests/golden/make_jinja_golden.py

Templates of our own that exercise each construct, chat templates on the eight conversations of compare_templates.py, and
460 random templates. A case is [template, name of its variables, text, [[begin, end], ...] of generation blocks]; the text is
null where Jinja2 refuses the template or to render it. Its errors have other words, so they are not compared.
"""
import json
from pathlib import Path

from compare_templates import ALLOWED, CONVERSATIONS, NAMES, NOW, expected, expression_cases, variables

HERE = Path(__file__).parent

CONSTRUCTS = [
    # text, comments, raw, white space
    "", "plain", "a\n", "a\n\n", "a\r\nb\rc\n", "{", "{ {", "}} %} #}", "{# gone #}x", "a {# b\nc #}\nd", "a {#- b -#} \n c",
    "{% raw %}{{ x }} {% if %}{% endraw %}!", "a\n  {% raw %} b {% endraw %}\n c", "a {%- raw -%} b {%- endraw -%} c", "{% raw -%}  z {%+ endraw +%}\nq",
    "  {% if true %}\n  x\n  {% endif %}\ny", "  {%+ if true %}\n  x\n  {%- endif +%}\ny", "a  {%- if true -%}  b  {%- endif -%}  c",
    "a\n   {{- 'x' -}}   \n b", "a {{+ 1 }} b", "x{% set a = 1 %}\ny{% set b = 2 %} z\n  {% set c = 3 %}\n", "\n\n{{ 1 }}\n\n", "\t {% if 1 %}\t \n t{% endif %}",
    "{% if true %}{# c #}\n{% endif %}|", "  {# lstrip #}\n  b", "{{ '{{' }}{{ \"%}\" }}", "\u00a0{% if 1 %}x{% endif %}", "é{{ '日' }}\U0001F600",
    # literals
    "{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1.5e3 }} {{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1e-5 }} {{ 0.0001 }}",
    r"{{ 'a\n\t\\\'\"\x41\u00e9\U0001F600\101\q' }}", "{{ 'a' 'b' \"c\" }}", "{{ [1, 2,] }}{{ (1,) }}{{ () }}{{ {'a': 1,} }}{{ (1) }}", "{{ true }}{{ False }}{{ none }}{{ None }}",
    "{{ 'it\\'s' }}{{ [\"it's\", 'say \"x\"', 'both \\' \"'] }}", "{{ ['\\n\\x00\\u200b\\u2028é'] }}", "{{ {1: 'a', 1.0: 'b', true: 'c', 'k': [], none: ()} }}", "{{ -5 // 2 }} {{ -5 % 3 }} {{ 5 % -3 }} {{ -5.5 // 2 }} {{ 7 / 2 }} {{ 4 / 2 }}",
    "{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 'ab' * 3 }} {{ 3 * [0] }} {{ 1 + 2 ~ 3 + 4 }} {{ 'x' ~ none ~ 1.0 ~ [1] }}", "{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ not 1 in [1] }} {{ 1 not in [2] }}",
    "{{ 0 or 'x' }} {{ '' and 1 }} {{ 1 and 2 }} {{ not '' }} {{ 1 if 0 else 2 }} {{ 1 if 0 }}| {{ 'a' if 1 else 'b' if 0 else 'c' }}", "{{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }} {{ 'aé日\U0001F600'[-2:] }} {{ [1,2,3][5] }}|{{ (1,2)[0:1] }}",
    "{{ d.a }} {{ d['a'] }} {{ d.items() | list }} {{ d['items'] }} {{ d.nested.k.0 }} {{ d.missing }}| {{ users[0].name }} {{ users[0]['name'] }}", "{{ x is defined }} {{ x is undefined }} {{ x }}| {{ x | default('d') }} {{ x == y }} {{ x or 'o' }} {{ x | length }} {{ x ~ 'a' }}", "{{ x.y }}", "{{ x + 1 }}", "{{ x() }}", "{{ n() }}", "{{ d.a.b.c }}", "{{ d.a.b }}|",
    "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ [1] + (1,) }}", "{{ 1 / 0 }}", "{{ 1 < 'a' }}", "{{ {}[[]] }}", "{{ 'abc'.upper() }}",
    # statements
    "{% if 0 %}a{% elif n == 42 %}b{% elif 1 %}c{% else %}d{% endif %}", "{% for x in [] %}a{% else %}none{% endfor %}", "{% for x in 'aé' %}{{ x }},{% endfor %}", "{% for k in d %}{{ k }},{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for a, b in [(1, 2), 'xy'] %}{{ a }}{{ b }} {% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in undef %}{% else %}e{% endfor %}",
    "{% for x in [1,2,3,4,5] if x is odd %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}",
    "{% for x in 'abcd' %}{{ loop.cycle('-', '+') }}{{ loop.changed(x in 'ab') }}{{ loop.depth }}{% endfor %}", "{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in [1,2] %}{% for y in [1,2] %}{{ loop.index }}{% break %}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in [1, [2, [3]], 4] recursive %}{% if x is iterable %}<{{ loop(x) }}>{% else %}{{ x }}@{{ loop.depth0 }}{% endif %}{% endfor %}", "{% for x in range(1, 10, 3) %}{{ x }}{% endfor %}{{ range(3) }}{{ range(5, 0, -2) | list }}", "{% break %}", "{% for x in [1] %}{% set y = 1 %}{% endfor %}{{ y }}|",
    "{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=1, y=[]) %}{% for i in [1,2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.z }}|{{ ns }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}", "{% set d.x = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, %}{{ c }}", "{% set a, b = [1] %}",
    "{% set x %}  a{{ 1 }} {% endset %}[{{ x }}]", "{% set x | upper | replace('A', 'b') %}a{{ n }}{% endset %}{{ x }}", "{% if 1 %}{% set v = 3 %}{% endif %}{{ v }}", "{% with a = 1, b = 2 %}{{ a + b }}{% set c = 1 %}{% endwith %}{{ a }}|{{ c }}|", "{% filter upper | trim %} a{{ 'b' }} {% endfilter %}", "{% print 1, 'a' %}",
    "{% macro m(a, b='B', c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=1, a=2) }}{{ m() }}", "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(x=1) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}<{{ caller('x') }}{{ caller('y') }}>{% endmacro %}{% call(a) m() %}{{ a }}{{ n }}{% endcall %}", "{% macro m() %}{{ caller is defined }}{{ caller() if caller }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ g }}{% endmacro %}{% set g = 'late' %}{{ m() }}", "{% for i in [1,2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m(x) %}{{ x }}{% endmacro %}{{ m.name }}{{ m.arguments }}", "{% macro m(x) -%}\n a \n{%- endmacro %}[{{ m(1) | trim }}]", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "a{% generation %}b{{ n }}{% endgeneration %}c{% for x in [1,2] %}{% generation %}é{{ x }}{% endgeneration %}.{% endfor %}", "{% generation %}{% endgeneration %}", "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "{% if 1 %}\n  {% generation %}\n x\n  {% endgeneration %}\n{% endif %}", "{% for i in [1,2] %}{%- generation -%}  {{ i }}  {%- endgeneration -%}  {% endfor %}",
    # functions
    "{{ raise_exception('no') }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %A %B %j %y %I %p %-d %% %e') }}", "{{ dict(a=1, b=2) }}{{ dict([('x', 1)], y=2) }}{{ dict({'q': 1}) }}", "{{ range(200000) }}", "{{ range(0, 1, 0) }}", "{{ range(3)[1] }}{{ range(3) | length }}{{ 2 in range(3) }}{{ range(3) == range(0, 3) }}",
    # filters and tests that need their arguments
    "{{ users | map(attribute='name') | join(', ') }}{{ users | selectattr('age', 'defined') | map(attribute='name') | list }}", "{{ users | sort(attribute='name') | map(attribute='name') | list }}{{ users | sort(attribute='name', case_sensitive=true, reverse=true) | map(attribute='name') | list }}", "{{ [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}, {'a': 0, 'b': 9}] | sort(attribute='a,b') }}", "{{ 'x' | nothing }}", "{% if 0 %}{{ 'x' | nothing }}{% endif %}ok", "{% if 1 %}{{ 'x' | nothing }}{% endif %}", "{{ 'y' if 1 else 'x' | nothing }}", "{% for x in [] %}{{ 'x' | nothing }}{% endfor %}",
    "{{ {'b': 1, 'A': 2, 'c': [3, none, true, 1.5, 'é<>&\\'\\u2028\\x7f\\n']} | tojson }}", "{{ d | tojson(indent=4) }}{{ [] | tojson(indent=2) }}{{ {'a': {}, 'b': [[]]} | tojson(indent='..') }}", "{{ 'é\U0001F600' | tojson(ensure_ascii=true) }}{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}{{ [1, 2] | tojson(separators=('; ', ' = ')) }}", "{{ undef | tojson }}", "{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}", "{{ {(1, 2): 3} | tojson }}",
    "{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb\n\nc' | indent(2, first=true, blank=true) }}|{{ 'a\nb' | indent('> ') }}", "{{ '%s-%05.2f-%x' | format('a', 3.14159, 255) }}{{ '%(a)s' | format(a=1) }}", "{{ '<a>' | e }}{{ '<a>' | safe }}{{ '<a>' | safe + '<b>' }}{{ ('<a>' | e) ~ '<b>' }}{{ ['<' | e] | join }}", "{{ [1, 2, 3] | sum }}{{ users | sum(attribute='none') if 0 }}{{ [[1], [2]] | sum(start=[]) }}", "{{ 'hello world-foo (bar' | title }}{{ 'ǆ ß ﬁ' | title }}{{ 'ΑΣ ΣΑΣ.' | lower }}{{ 'straße ŉ' | upper }}",
    "{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 1234 | round(-2) }} {{ 2.1 | round(0, 'ceil') }} {{ -2.1 | round(0, 'floor') }} {{ 1.25 | round(1) }}", "{{ '42' | int }} {{ '4.7' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '0x1f' | int(base=16) }} {{ ' -1_0 ' | int }} {{ none | int }} {{ 'nan' | float }} {{ 'x' | float(1.5) }} {{ 1e3 | int }}", "{{ [3, 1, 2] | sort | first }}{{ 'cab' | sort }}{{ [1, 'a'] | sort }}", "{{ d | dictsort }}{{ {'b': 1, 'A': 2} | dictsort(true) }}{{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }}",
    "{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }}{{ [1, 2, 3, 4, 5] | slice(3, 'f') | list }}", "{{ [none, 1, 0, 'a', ''] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('in', [2]) | list }}", "{{ [1, 2] | map('string') | list }}{{ ['a'] | map('replace', 'a', 'b') | first }}{{ none | map('upper') | list }}", "{{ ['a', 'A', 'b'] | unique | list }}{{ ['a', 'A'] | unique(true) | list }}{{ [3, 1] | min }}{{ ['b', 'A'] | max }}{{ [] | min }}|", "{% set g = [1, 2] | map('string') %}{{ g | list }}{{ g | list }}", "{{ ([1] | map('string')) | length }}", "{{ ([1] | map('string'))[0] }}|",
    "{{ 1 is divisibleby 1 }}{{ 4 is divisibleby(2) }}{{ 1 is in [1] }}{{ 'a' is in 'abc' }}{{ 3 is gt 2 }}{{ none is sameas none }}{{ d is mapping }}{{ d is sequence }}{{ 'a' is iterable }}{{ undef is callable }}{{ 1 is not string }}{{ true is integer }}{{ 1.0 is number }}", "{{ x is nothing }}", "{{ 1 is string is defined }}", "{{ 'a' is string and 1 is number or 0 }}", "{{ [1, 2].append(3) }}", "{% set l2 = l + [5] %}{{ l2 }}{{ l }}", "{{ d.pop('a') }}", "{{ d.append is defined }}{{ l.append is defined }}",
    "{{ 'a,b'.split(',', 1)[1] }}{{ ' a  b '.split() }}{{ 'a b c'.rsplit(none, 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ 'a\\nb\\r\\n'.splitlines() }}", "{{ 'xxabcxx'.strip('x') }}{{ '\\u00a0 a\\x1f'.strip() }}{{ 'ab'.lstrip('ba') }}|{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('bc', 0, 2) }}", "{{ '{} {1}'.format(1, 2) if 0 }}{{ '{0[a]} {1.name}'.format(d, users[0]) }}{{ '{:>8.3f}|{:<5}|{:^5}|{:+d}|{:08.2f}|{:,}|{:x}|{:%}'.format(3.14159, 'a', 'b', 5, -1.5, 1234567, 255, 0.5) }}", "{{ '%s %r %5d|%-5s|%+.1e %g %c %%' % ('a', 'b', 3, 'x', 12345.678, 0.0001, 65) }}", "{{ '%d' % 'a' }}", "{{ '%s %s' % 1 }}", "{{ '%s' % (1, 2) }}", "{{ '%s' % [1, 2] }}{{ '%s' % d }}{{ '%s' % ((1, 2),) }}",
    # syntax errors
    "{{ }}", "{{ 1 + }}", "{% if %}{% endif %}", "{% if 1 %}", "{% endif %}", "{% for x in %}{% endfor %}", "{{ (1 }}", "{{ 1) }}", "{{ 'a }}", "{% nothing %}", "{# open", "{% raw %}", "{{ a b }}", "{{ 1 ! 2 }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ f(a=1, 2) }}", "{{ f(a=1, a=2) }}", "{% for loop in [1] %}{% endfor %}", "{% call x %}{% endcall %}", "{{ a.'b' }}", "{% endfor %}", "{% if 1 %}{% endfor %}", "{{ 01 }}", "{{ {1 2} }}", "{% else %}",
]

CHATS = [
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content if m.content is string else m.content | map(attribute='text') | join) + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{{- bos_token }}\n{%- for m in messages %}\n    {%- if m.role == 'assistant' %}\n[A]{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}\n    {%- else %}\n[{{ m.role }}]{{ m.content }}\n    {%- endif %}\n{%- endfor %}",
    "{%- if tools is not none %}{%- for t in tools %}{{ t | tojson }}\n{% endfor %}{{ tools | tojson(indent=4) }}{%- endif %}{%- for m in messages %}{%- if m.tool_calls %}{%- for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}){%- endfor %}{%- endif %}{{ m.reasoning_content }}{{ m.thinking }}{%- endfor %}",
    "{%- set ns = namespace(last=-1) %}{%- for m in messages[::-1] %}{%- if m.role == 'user' and ns.last == -1 %}{%- set ns.last = messages | length - 1 - loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}{%- if loop.index0 > ns.last %}<think>\n\n</think>{%- endif %}{{ m }}{%- endfor %}{{ ns.last }}",
    "{%- if messages[0].role == 'system' %}{{ messages[0].content }}{%- set messages = messages[1:] %}{%- endif %}{%- for m in messages %}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate, not ' ~ m.role) }}{%- endif %}{{ m.content }}{%- endfor %}",
    "{{ messages }}{{ documents }}{{ enable_thinking }}{{ pad_token }}",
]


def random_sources():
    """Random templates: 400 that Jinja2 renders and 60 that it refuses."""
    left = {True: 400, False: 60}
    for source, names in expression_cases(3000, seed=2):
        rendered = "text" in expected(source, names)
        if left[rendered] > 0:
            left[rendered] -= 1
            yield source


def main():
    sets = {"names": NAMES, **{name: variables(conversation) for name, conversation in CONVERSATIONS.items()}}
    cases = [(source, "names") for source in CONSTRUCTS]
    cases += [(source, name) for source in CHATS for name in CONVERSATIONS]
    cases += [(source, "names") for source in random_sources()]
    results = []
    for source, name in cases:
        result = expected(source, sets[name])
        if " at 0x" not in result.get("text", ""):
            results.append([source, name, result.get("text"), result.get("generations", [])])
    golden = {"now": NOW, "allowed": ALLOWED, "variables": sets, "cases": results}
    (HERE / "jinja.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(results)} cases, {sum(result[2] is None for result in results)} of them refused")


if __name__ == "__main__":
    main()
