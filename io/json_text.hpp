// Reads JSON text (RFC 8259) from outside for the whole engine: files, lines of files, and messages of other
// processes.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace collie {

// The deepest nesting of lists and objects that is read. Real files have less than 20 levels.
constexpr int deepest_json = 100;

// The one value in `text`. Throws UserError "WHERE: ..." for anything else: text that is not JSON (NaN,
// comments, a second value, a byte that is not UTF-8), a key that occurs twice in one object, a number beyond
// a double, or too deep nesting. The message quotes at most 60 bytes of a text. A byte order mark in front is
// skipped.
nlohmann::json parse_json(std::string_view text, const std::string& where);

// The same, with the keys of objects in the order of the text. A whole number beyond 64 bits, which no type
// here can hold, is a binary value: its digits.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where);

// The same for text that must be an object. `lines` gets the line, from 1, of each of its keys.
nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 std::map<std::string, int>* lines = nullptr);

// A value for messages: JSON on one line, at most some 80 bytes of it.
std::string in_short(const nlohmann::json& value);

}  // namespace collie
