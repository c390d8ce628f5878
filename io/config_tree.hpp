// The configuration file as a tree of YAML values that remember where they were written. For the
// implementation of io/config.hpp only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace collie::config {

// The place where a value was written: a line of the file, or a --set of the command line.
struct Origin {
  std::string file;
  int line = 0;  // from 1; 0: the file as a whole
  bool from_setting = false;
  // The beginning of a message about `path`: "FILE:LINE: PATH", "--set PATH", or "PATH" if nothing is known.
  std::string place(std::string_view path) const;
};

struct Entry;

struct Node {
  enum class Kind { null, scalar, list, map };
  // The meaning of a scalar by the YAML 1.2 core schema. A quoted scalar is always text.
  enum class Meaning { boolean, integer, real, text };

  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;
  std::vector<Node> items;     // of a list
  std::vector<Entry> entries;  // of a map, in the order of the file
  Origin origin;

  Meaning meaning() const;
  Node* find(std::string_view key);
  std::string describe() const;  // for messages: "nothing", "3.5", "'fast'", "a list"
};

struct Entry {
  std::string key;
  Node value;
};

// The meaning of an unquoted scalar.
Node::Meaning plain_meaning(std::string_view text);

// A longer text is not taken for a configuration.
constexpr size_t longest_yaml = size_t{4} << 20;

// Parses one YAML document; empty text is null. Anchors, aliases and merge keys (<<) are resolved. Refused
// are a duplicate key, a second document, an unknown tag, nesting over 100 lists and maps deep, more than
// 100,000 values, control characters and text that is not UTF-8. `path` is the key whose value the whole text
// is. Throws UserError.
Node parse_yaml(const std::string& text, const Origin& origin, const std::string& path);

// Lays "key.path=value" over `root`: the value, which is YAML, replaces what was there. Numbers in the path
// are list indices; the index after the last appends. Throws a UserError that begins with "--set".
void apply_setting(Node& root, const std::string& setting);

// The value with its YAML types. Numbers without point and exponent are integers. Throws UserError for NaN,
// infinity, numbers out of range, and words that only some YAML versions take for booleans (yes, on, True,
// ...).
nlohmann::json to_json(const Node& node, const std::string& path);

// Joins a key to the path of its map.
std::string join(const std::string& path, std::string_view key);

}  // namespace collie::config
