// JSON text (RFC 8259) from outside, as the whole engine reads it: files, lines of files, what other
// processes send.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace collie {

// Lists and objects one inside the other; real files have less than 20.
constexpr int deepest_json = 100;

// The one value that `text` is. UserError "WHERE: ..." for anything else: what is no JSON (NaN, comments, a
// second value, a byte that is not UTF-8), a key that is twice in one object, a number beyond a double, or
// what lies too deep; its message quotes 60 bytes of a text at most. A byte order mark in front is passed
// over.
nlohmann::json parse_json(std::string_view text, const std::string& where);

// The same for what must be an object; `lines` gets the line, from 1, of each key of it.
nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 std::map<std::string, int>* lines = nullptr);

// A value as messages have it: JSON on one line, at most some 80 bytes of it.
std::string in_short(const nlohmann::json& value);

}  // namespace collie
