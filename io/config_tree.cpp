#include "io/config_tree.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "io/config_values.hpp"

namespace collie::config {

namespace {

constexpr std::string_view kYamlTags = "tag:yaml.org,2002:";

bool is_quoted(const YAML::Node& node) {
  return node.Tag() == "!" || node.Tag() == std::string(kYamlTags) + "str";
}

bool has_known_tag(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  return tag.empty() || tag == "?" || tag == "!" || tag.rfind(kYamlTags, 0) == 0;
}

// From yaml-cpp's nodes to ours. Aliases are expanded, and may hold themselves, so number and depth are
// bounded.
class Converter {
 public:
  explicit Converter(Origin origin) : origin_(std::move(origin)) {}

  Node convert(const YAML::Node& from, const std::string& path) {
    if (++nodes_ > kMostNodes || depth_ == kMostDepth)
      throw UserError("{}: more than {} values, or {} one inside the other, once aliases are resolved",
                      here(from).place(shortened(path)), kMostNodes, kMostDepth);
    ++depth_;
    Node to;
    to.origin = here(from);
    if (!has_known_tag(from))
      throw UserError("{}: unknown tag {}; write the value without it", to.origin.place(path), from.Tag());
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
  static constexpr int kMostNodes = 100000, kMostDepth = 100;

  Origin here(const YAML::Node& node) const {
    Origin origin = origin_;
    if (!origin.from_setting && node.Mark().line >= 0) origin.line = node.Mark().line + 1;
    return origin;
  }

  void convert_entries(const YAML::Node& from, const std::string& path, Node& to) {
    std::vector<Node> merged;
    for (const auto& pair : from) {
      const YAML::Node &key = pair.first, &value = pair.second;
      if (!key.IsScalar())
        throw UserError("{}: a key is {}; a key has to be a text", here(key).place(path),
                        key.IsNull() ? "empty" : "a list or a map");
      const std::string name = key.Scalar();
      const std::string entry_path = join(path, name);
      const Node* before = to.find(name);
      if (before != nullptr)
        throw UserError("{}: the key is given twice{}; keep one of the two", here(key).place(entry_path),
                        origin_.from_setting ? "" : fmt::format(" (first on line {})", before->origin.line));
      Node converted = convert(value, entry_path);
      converted.origin = here(key);
      if (name == "<<" && !is_quoted(key))
        merged.push_back(std::move(converted));
      else
        to.entries.push_back({name, std::move(converted)});
    }
    for (const Node& node : merged) merge(node, path, to);
  }

  // The merge key of YAML 1.1: what the map says itself wins, then the first of the merged maps.
  static void merge(const Node& from, const std::string& path, Node& to) {
    if (from.kind == Node::Kind::list) {
      for (const Node& item : from.items) merge(item, path, to);
      return;
    }
    if (from.kind != Node::Kind::map)
      throw UserError("{}: found {}; a map (*ANCHOR) is wanted", from.origin.place(join(path, "<<")),
                      from.describe());
    for (const Entry& entry : from.entries)
      if (to.find(entry.key) == nullptr) to.entries.push_back(entry);
  }

  Origin origin_;
  int nodes_ = 0, depth_ = 0;
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

// Settings walk down the tree; what is missing on the way is made.
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
      throw UserError("--set {}: {} is {} here; only a map or a list has parts", path_, done,
                      node.describe());
    if (Node* found = node.find(parts_[part])) return *found;
    node.entries.push_back({parts_[part], Node{}});
    return node.entries.back().value;
  }

  Node& item(Node& node, const std::string& done, size_t part) {
    const size_t size = node.items.size();
    const size_t index = is_index(parts_[part]) ? std::stoul(parts_[part]) : size + 1;
    if (index > size)
      throw UserError("--set {}: {} is a list; found '{}' where an index from 0 to {} is wanted, as in {}.0",
                      path_, done, parts_[part], size, done);
    if (index == size) node.items.emplace_back();
    return node.items[index];
  }

  std::string path_;
  std::vector<std::string> parts_;
  Origin origin_;
};

}  // namespace

std::string Origin::place(std::string_view path) const {
  if (from_setting) return fmt::format("--set {}", path);
  std::string place = file;
  if (line > 0) place += fmt::format(":{}", line);
  if (!place.empty() && !path.empty()) place += ": ";
  return place.append(path);
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
  return meaning() == Meaning::text ? fmt::format("'{}'", shortened(scalar)) : scalar;
}

Node parse_yaml(const std::string& text, const Origin& origin, const std::string& path) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    Node empty;
    empty.origin = origin;
    if (documents.empty()) return empty;
    if (documents.size() > 1)
      throw UserError("{}: found {} YAML documents (---); one is wanted", origin.place(path),
                      documents.size());
    return Converter(origin).convert(documents.front(), path);
  } catch (const YAML::Exception& error) {
    Origin at = origin;
    if (!at.from_setting && !error.mark.is_null()) at.line = error.mark.line + 1;
    throw UserError("{}: not valid YAML: {}{}", at.place(path), error.msg,
                    origin.from_setting
                        ? "; a text with special characters needs quotes inside the value: '\"...\"'"
                        : "");
  }
}

void apply_setting(Node& root, const std::string& setting) {
  const size_t equals = setting.find('=');
  const std::string path = setting.substr(0, equals);
  if (equals == std::string::npos)
    throw UserError("--set {}: found no '='; key.path=value is wanted", setting);
  const std::vector<std::string> parts = split_at_dots(path);
  if (std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty(); }))
    throw UserError("--set {}: '{}' names no key; key.path=value is wanted", setting, path);
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
