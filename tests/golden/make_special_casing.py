#!/usr/bin/env python3
"""Prints io/jinja/special_casing.cpp: the characters that become several in upper or title case (Unicode's SpecialCasing.txt).

    python tests/golden/make_special_casing.py > io/jinja/special_casing.cpp && clang-format-14 -i io/jinja/special_casing.cpp
"""


def table(name, change):
    print(f"constexpr SpecialCase {name}[] = {{")
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000 and len(change(chr(code))) > 1:
            text = "".join(f"\\x{byte:02X}" for byte in change(chr(code)).encode())
            print(f'    {{0x{code:X}, "{text}"}},')
    print("};\n")


print("""// Made by tests/golden/make_special_casing.py.
#include "io/jinja/special_casing.hpp"

#include <algorithm>
#include <iterator>

namespace collie::jinja {

namespace {

struct SpecialCase {
  char32_t code_point;
  const char* text;
};
""")
table("special_upper_cases", str.upper)
table("special_title_cases", str.title)
print("""template <size_t count>
std::string_view special_case(const SpecialCase (&table)[count], char32_t code_point) {
  const auto* found = std::lower_bound(std::begin(table), std::end(table), code_point,
                                       [](const SpecialCase& entry, char32_t c) { return entry.code_point < c; });
  return found == std::end(table) || found->code_point != code_point ? std::string_view() : found->text;
}

}  // namespace

std::string_view special_upper_case(char32_t code_point) {
  return special_case(special_upper_cases, code_point);
}

std::string_view special_title_case(char32_t code_point) {
  return special_case(special_title_cases, code_point);
}

}  // namespace collie::jinja""")
