#include "io/config_tree.hpp"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/config_values.hpp"
#include "io/utf8.hpp"

namespace collie::config {

namespace {

constexpr int kMostDepth = 100, kMostNodes = 100000;
constexpr size_t kLongestKey = 256;  // so that a path of a hundred keys can be made for each value
constexpr std::string_view kYamlTags = "tag:yaml.org,2002:";

bool is_quoted(const YAML::Node& node) {
  return node.Tag() == "!" || node.Tag() == std::string(kYamlTags) + "str";
}

bool has_known_tag(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  return tag.empty() || tag == "?" || tag == "!" || tag.rfind(kYamlTags, 0) == 0;
}

// `line` counts from 0; -1 means that it is not known.
Origin on_line(Origin origin, int line) {
  if (!origin.from_setting && line >= 0) origin.line = line + 1;
  return origin;
}

[[noreturn]] void refuse_depth(const Origin& at, const std::string& path) {
  throw UserError("{}: more than {} lists and maps are one inside the other, once aliases are resolved",
                  at.place(path), kMostDepth);
}

// Refuses text that yaml-cpp would take, but not as YAML does, or not in bounded time and memory. yaml-cpp
// holds a whole line of brackets before it says anything, takes a 0x04 for the end of the text, and replaces
// what is not UTF-8.
void check_text(const std::string& text, const Origin& origin, const std::string& path) {
  constexpr int kMostOpen = 1000;  // also counts inside texts and comments, where nobody has so many
  if (text.size() > longest_yaml)
    throw UserError("{}: {} bytes of YAML; at most {} are read", origin.place(path), text.size(),
                    longest_yaml);
  int line = 0, open = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') ++line;
    if (c == '[' || c == '{') ++open;
    if (c == ']' || c == '}') open = std::max(0, open - 1);
    if (open > kMostOpen) refuse_depth(on_line(origin, line), path);
    if (byte < ' ' && c != '\n' && c != '\r' && c != '\t')
      throw UserError("{}: not valid YAML: a byte 0x{:02X}; inside a double-quoted text write \\x{:02X}",
                      on_line(origin, line).place(path), byte, byte);
  }
  if (const auto at = first_invalid_utf8(text))
    throw UserError("{}: not UTF-8 text: byte 0x{:02X}",
                    on_line(origin, static_cast<int>(std::count(
                                        text.begin(), text.begin() + static_cast<std::ptrdiff_t>(*at), '\n')))
                        .place(path),
                    static_cast<unsigned char>(text[*at]));
}

// Goes through a document before anything is built of it, so that what is built is small.
class Survey : public YAML::EventHandler {
 public:
  Survey(Origin origin, std::string path) : origin_(std::move(origin)), path_(std::move(path)) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnMapEnd() override { --depth_; }

 private:
  void count(const YAML::Mark& mark) {
    if (++values_ > 2 * kMostNodes)  // each value may have a key
      throw UserError("{}: more than {} values", on_line(origin_, mark.line).place(path_), kMostNodes);
  }
  void enter(const YAML::Mark& mark) {
    count(mark);
    if (++depth_ > kMostDepth) refuse_depth(on_line(origin_, mark.line), path_);
  }

  Origin origin_;
  std::string path_;
  int values_ = 0, depth_ = 0;
};

// Returns false if there is no document at all. YAML::LoadAll finds documents without end in "{a: 1}, b".
bool survey(const std::string& text, const Origin& origin, const std::string& path) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Survey survey(origin, path);
  if (!parser.HandleNextDocument(survey)) return false;
  if (parser.HandleNextDocument(survey))
    throw UserError("{}: found a second YAML document (---), or text after the first; one is wanted",
                    origin.place(path));
  return true;
}

// Converts yaml-cpp's nodes to ours. Aliases are expanded, and an alias may contain itself, so number and
// depth are bounded.
class Converter {
 public:
  explicit Converter(Origin origin) : origin_(std::move(origin)) {}

  Node convert(const YAML::Node& from, const std::string& path) {
    if (depth_ == kMostDepth) refuse_depth(here(from), path);
    if (++nodes_ > kMostNodes)
      throw UserError("{}: more than {} values, once aliases are resolved", here(from).place(path),
                      kMostNodes);
    if (from.IsScalar()) bytes_ += from.Scalar().size();
    if (bytes_ > kMostBytes)
      throw UserError("{}: more than {} bytes of text, once aliases are resolved", here(from).place(path),
                      kMostBytes);
    ++depth_;
    Node to;
    to.origin = here(from);
    if (!has_known_tag(from))
      throw UserError("{}: unknown tag {}; write the value without it", to.origin.place(path),
                      shortened(from.Tag()));
    if (from.IsScalar()) {
      to.kind = Node::Kind::scalar;
      to.scalar = from.Scalar();
      to.quoted = is_quoted(from);
    } else if (from.IsSequence()) {
      to.kind = Node::Kind::list;
      for (const YAML::Node& item : from)
        to.items.push_back(convert(item, join(path, std::to_string(to.items.size()))));
    } else if (from.IsMap()) {
      to.kind = Node::Kind::map;
      convert_entries(from, path, to);
    }
    --depth_;
    return to;
  }

 private:
  static constexpr size_t kMostBytes = 4 * longest_yaml;

  Origin here(const YAML::Node& node) const { return on_line(origin_, node.Mark().line); }

  using Lines = std::unordered_map<std::string, int>;  // the line of each key of a map

  void convert_entries(const YAML::Node& from, const std::string& path, Node& to) {
    std::vector<Node> merged;
    Lines lines;
    for (const auto& pair : from) {
      const YAML::Node &key = pair.first, &value = pair.second;
      if (!key.IsScalar())
        throw UserError("{}: a key is {}; a key has to be a text", here(key).place(path),
                        key.IsNull() ? "empty" : "a list or a map");
      const std::string name = key.Scalar();
      const std::string entry_path = join(path, name);
      if (name.size() > kLongestKey)
        throw UserError("{}: a key of {} bytes; no key has more than {}", here(key).place(entry_path),
                        name.size(), kLongestKey);
      const auto [known, is_new] = lines.emplace(name, here(key).line);
      if (!is_new)
        throw UserError("{}: the key is given twice{}; keep one of the two", here(key).place(entry_path),
                        origin_.from_setting ? "" : fmt::format(" (first on line {})", known->second));
      Node converted = convert(value, entry_path);
      converted.origin = here(key);
      if (name == "<<" && !is_quoted(key))
        merged.push_back(std::move(converted));
      else
        to.entries.push_back({name, std::move(converted)});
    }
    for (const Node& node : merged) merge(node, path, to, lines);
  }

  // The merge key of YAML 1.1: the map's own keys win, then those of the first merged map.
  static void merge(const Node& from, const std::string& path, Node& to, Lines& lines) {
    if (from.kind == Node::Kind::list) {
      for (const Node& item : from.items) merge(item, path, to, lines);
      return;
    }
    if (from.kind != Node::Kind::map)
      throw UserError("{}: found {}; a map (*ANCHOR) is wanted", from.origin.place(join(path, "<<")),
                      from.describe());
    for (const Entry& entry : from.entries)
      if (lines.emplace(entry.key, entry.value.origin.line).second) to.entries.push_back(entry);
  }

  Origin origin_;
  int nodes_ = 0, depth_ = 0;
  size_t bytes_ = 0;
};

std::vector<std::string> split_at_dots(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool is_index(const std::string& part) {
  return !part.empty() && part.size() < 10 &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Walks down the tree along a setting's path. What is missing on the way is made.
class SettingPath {
 public:
  explicit SettingPath(const std::string& path) : path_(path), parts_(split_at_dots(path)) {
    origin_.from_setting = true;
  }

  Node& descend(Node& root) {
    Node* node = &root;
    std::string done;
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (node->kind == Node::Kind::null) {
        node->kind = is_index(parts_[i]) ? Node::Kind::list : Node::Kind::map;
        node->origin = origin_;
      }
      node = node->kind == Node::Kind::list ? &item(*node, done, i) : &entry(*node, done, i);
      done = join(done, parts_[i]);
    }
    return *node;
  }

 private:
  Node& entry(Node& node, const std::string& done, size_t part) {
    if (node.kind != Node::Kind::map)
      throw UserError("--set {}: {} is {} here; only a map or a list has parts", shortened(path_),
                      shortened(done), node.describe());
    if (Node* found = node.find(parts_[part])) return *found;
    node.entries.push_back({parts_[part], Node{}});
    return node.entries.back().value;
  }

  Node& item(Node& node, const std::string& done, size_t part) {
    const size_t size = node.items.size();
    const size_t index = is_index(parts_[part]) ? std::stoul(parts_[part]) : size + 1;
    if (index > size)
      throw UserError("--set {}: {} is a list; found '{}' where an index from 0 to {} is wanted, as in {}.0",
                      shortened(path_), shortened(done), shortened(parts_[part]), size, shortened(done));
    if (index == size) node.items.emplace_back();
    return node.items[index];
  }

  std::string path_;
  std::vector<std::string> parts_;
  Origin origin_;
};

}  // namespace

std::string Origin::place(std::string_view path) const {
  constexpr size_t kLongest = 120;  // the engine's own paths are shorter
  const std::string shown = shortened(path, kLongest);
  if (from_setting) return fmt::format("--set {}", shown);
  std::string place = file;
  if (line > 0) place += fmt::format(":{}", line);
  if (!place.empty() && !path.empty()) place += ": ";
  return place + shown;
}

Node::Meaning plain_meaning(std::string_view text) {
  if (text == "true" || text == "false") return Node::Meaning::boolean;
  if (is_whole_number(text)) return Node::Meaning::integer;
  return is_number(text) ? Node::Meaning::real : Node::Meaning::text;
}

Node::Meaning Node::meaning() const {
  return quoted ? Meaning::text : plain_meaning(scalar);
}

Node* Node::find(std::string_view key) {
  for (Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

std::string Node::describe() const {
  if (kind == Kind::null) return "nothing";
  if (kind == Kind::list) return "a list";
  if (kind == Kind::map) return "a map";
  if (quoted) return fmt::format("the text \"{}\"", shortened(scalar));
  return meaning() == Meaning::text ? fmt::format("'{}'", shortened(scalar)) : shortened(scalar);
}

Node parse_yaml(const std::string& text, const Origin& origin, const std::string& path) {
  check_text(text, origin, path);
  try {
    Node empty;
    empty.origin = origin;
    if (!survey(text, origin, path)) return empty;
    return Converter(origin).convert(YAML::Load(text), path);
  } catch (const YAML::DeepRecursion& error) {
    refuse_depth(on_line(origin, error.mark.line), path);
  } catch (const YAML::Exception& error) {
    const Origin at = error.mark.is_null() ? origin : on_line(origin, error.mark.line);
    throw UserError("{}: not valid YAML: {}{}", at.place(path), shortened(error.msg, 200),
                    origin.from_setting
                        ? "; a text with special characters needs quotes inside the value: '\"...\"'"
                        : "");
  }
}

void apply_setting(Node& root, const std::string& setting) {
  const size_t equals = setting.find('=');
  const std::string path = setting.substr(0, equals);
  if (equals == std::string::npos)
    throw UserError("--set {}: found no '='; key.path=value is wanted", shortened(setting));
  const std::vector<std::string> parts = split_at_dots(path);
  if (std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty(); }))
    throw UserError("--set {}: '{}' names no key; key.path=value is wanted", shortened(setting),
                    shortened(path));
  if (parts.size() > kMostDepth)
    throw UserError("--set {}: the path has {} parts; no key has more than {}", shortened(path), parts.size(),
                    kMostDepth);
  Origin origin;
  origin.from_setting = true;
  Node value = parse_yaml(setting.substr(equals + 1), origin, path);
  SettingPath(path).descend(root) = std::move(value);
}

nlohmann::json to_json(const Node& node, const std::string& path) {
  if (node.kind == Node::Kind::null) return nullptr;
  if (node.kind == Node::Kind::list) {
    nlohmann::json list = nlohmann::json::array();
    for (const Node& item : node.items)
      list.push_back(to_json(item, join(path, std::to_string(list.size()))));
    return list;
  }
  if (node.kind == Node::Kind::map) {
    nlohmann::json map = nlohmann::json::object();
    for (const Entry& entry : node.entries) map[entry.key] = to_json(entry.value, join(path, entry.key));
    return map;
  }
  const auto refuse = [&](const std::string& wanted) {
    throw UserError("{}: found {}; {}", node.origin.place(path), node.describe(), wanted);
  };
  switch (node.meaning()) {
    case Node::Meaning::boolean:
      return node.scalar == "true";
    case Node::Meaning::integer:
      if (const auto number = parse_number<int64_t>(node.scalar)) return *number;
      if (const auto number = parse_number<uint64_t>(node.scalar)) return *number;
      refuse("the number does not fit into 64 bits");
      break;
    case Node::Meaning::real:
      if (const auto number = parse_number<double>(node.scalar)) return *number;
      refuse("the number does not fit into a double");
      break;
    case Node::Meaning::text:
      break;
  }
  if (!node.quoted && is_almost_boolean(node.scalar)) refuse("write true or false, or the text in quotes");
  if (!node.quoted && is_not_finite(node.scalar)) refuse("a finite number is wanted, or the text in quotes");
  return node.scalar;
}

std::string join(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

}  // namespace collie::config
