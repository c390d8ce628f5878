// Reads CONFIG.yaml and --set into a Config.
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/callback_options.hpp"
#include "io/config.hpp"
#include "io/config_check.hpp"
#include "io/config_schema.hpp"
#include "io/config_tree.hpp"
#include "io/config_values.hpp"
#include "io/files.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"
#include "io/plugins.hpp"

namespace collie {

namespace config {

namespace {

// Called with the path of each plugin, and where it was given.
using PluginLoader = std::function<void(const std::string& path, const Origin& origin)>;

// Fills the members of a Config from the tree, key by key in the table's order.
class Reader {
 public:
  Reader(Config& config, Origin file, PluginLoader load_plugin)
      : config_(config), file_(config.file), places_(std::move(file)), load_plugin_(std::move(load_plugin)) {}

  void read(const Node& root) {
    for (const Entry& section : root.entries)
      if (section.key == "plugins") read_plugins(section.value);
    for (const Entry& section : root.entries) {
      if (section.key == "optimizer") read_name(section.value, section.key, config_.optimizer.name);
      if (section.key == "lr_scheduler") read_name(section.value, section.key, config_.lr_scheduler.name);
    }
    keys_ = schema(config_);
    read_section(root, "", keys_);
    set_key_defaults(config_, [&](const std::string& key) { return file_.places.count(key) > 0; });
  }
  const Places& places() const { return places_; }

 private:
  using Keys = std::vector<Key>;

  // Known keys are read first, so that "type: lora" is refused by its name and not because of the keys that
  // come with it.
  void read_section(const Node& node, const std::string& section, const Keys& keys) {
    if (node.kind == Node::Kind::null) return;
    if (node.kind != Node::Kind::map)
      throw UserError("{}: found {}; a map of {} is wanted", node.origin.place(section), node.describe(),
                      names_in(keys, section));
    for (const Entry& entry : node.entries) {
      const std::string path = join(section, entry.key);
      add_place(path, entry.value.origin);
      if (const Key* key = find_key(keys, path))
        read_key(entry.value, *key);
      else if (is_section(keys, path))
        read_section(entry.value, path, keys);
    }
    for (const Entry& entry : node.entries) {
      const std::string path = join(section, entry.key);
      if (find_key(keys, path) == nullptr && !is_section(keys, path)) refuse_unknown(entry.value, path, keys);
    }
  }

  // Plugins have names that the other keys may give, so they are loaded before those are read.
  void read_plugins(const Node& node) {
    read_key(node, Key("plugins", &config_.plugins));
    for (size_t i = 0; i < node.items.size(); ++i) load_plugin_(config_.plugins[i], node.items[i].origin);
  }

  // The name of a piece decides which options there are, so it is read before them. If it is no text,
  // read_key() refuses it.
  void read_name(const Node& section, const std::string& path, std::string& piece) {
    for (const Entry& entry : section.entries) {
      const Node& name = entry.value;
      if (entry.key != "name" || name.kind != Node::Kind::scalar || name.meaning() != Node::Meaning::text)
        continue;
      piece = name.scalar;
      add_place(join(path, "name"), name.origin);
    }
  }

  // Which options the piece has that stand beside the key, for messages; "" elsewhere. Of the groups it is
  // the last, which is being read.
  std::string options_at(const std::string& path) const {
    const OptimizerConfig& optimizer = config_.optimizer;
    const auto words = [](const std::string& piece, const auto& declarations) {
      return fmt::format(" (the options of {} are {})", piece,
                         names_of_options(declarations.find(piece).options));
    };
    if (const size_t metrics = path.find(".metrics.");
        path.starts_with("eval.sets.") && metrics < path.size())
      return words(config_.eval.sets.back().metrics.back().name, metric_declarations());
    if (path.starts_with("optimizer.groups."))
      return words(rule_of(optimizer, optimizer.groups.back()), optimizer_declarations());
    if (path.starts_with("optimizer.")) return words(optimizer.name, optimizer_declarations());
    if (path.starts_with("lr_scheduler."))
      return words(config_.lr_scheduler.name, learning_rate_declarations());
    if (path.starts_with("callbacks.") && callback_declarations().contains(config_.callbacks.back().name))
      return words(config_.callbacks.back().name, callback_declarations());
    return "";
  }

  void add_place(const std::string& path, const Origin& origin) {
    places_.add(path, origin);
    file_.places[path] = origin.place(path);
  }

  [[noreturn]] void refuse_unknown(const Node& node, const std::string& path, const Keys& keys) const {
    Keys all = keys;  // those of a data source, then the rest: the nearest key is searched among both
    const std::string options = options_at(path);
    if (&keys != &keys_ && options.empty()) all.insert(all.end(), keys_.begin(), keys_.end());
    throw UserError("{}: unknown key; {}{}", node.origin.place(path), suggestion(all, path), options);
  }

  void read_key(const Node& node, const Key& key) {
    if (!key.nullable || node.kind != Node::Kind::null)
      std::visit([&](auto target) { read_value(node, key, target); }, key.target);
    else
      std::get<std::string*>(key.target)->clear();
    key.check(node.origin.place(key.path));
  }

  [[noreturn]] static void refuse(const Node& node, const Key& key, const std::string& more = "") {
    throw UserError("{}: found {}; {} is wanted{}", node.origin.place(key.path), node.describe(),
                    key.wanted(), more);
  }

  static Node::Meaning scalar_meaning(const Node& node, const Key& key) {
    if (node.kind != Node::Kind::scalar) refuse(node, key);
    return node.meaning();
  }

  static std::string read_text(const Node& node, const Key& key) {
    const Node::Meaning meaning = scalar_meaning(node, key);
    if (std::count(key.valid.begin(), key.valid.end(), node.scalar)) return node.scalar;  // 0.0 is one, too
    if (meaning == Node::Meaning::integer && key.takes_integers) return node.scalar;
    if (meaning != Node::Meaning::text)
      refuse(node, key, fmt::format(" (to mean the text, write \"{}\")", shortened(node.scalar)));
    return node.scalar;
  }

  template <class Integer>
  static Integer read_integer(const Node& node, const Key& key) {
    if (scalar_meaning(node, key) != Node::Meaning::integer) refuse(node, key);
    const auto number = parse_number<Integer>(node.scalar);
    if (number) return *number;
    if (key.range.most) refuse(node, key);
    const bool negative = node.scalar.front() == '-' && std::numeric_limits<Integer>::min() == 0;
    refuse(node, key,
           negative ? ", and not a negative one"
                    : fmt::format(", and at most {}", std::numeric_limits<Integer>::max()));
  }

  static double read_double(const Node& node, const Key& key) {
    const Node::Meaning meaning = scalar_meaning(node, key);
    if (meaning != Node::Meaning::real && meaning != Node::Meaning::integer) refuse(node, key);
    const auto number = parse_number<double>(node.scalar);
    if (!number) refuse(node, key, ", and one that a double can hold");
    return *number;
  }

  static void read_value(const Node& node, const Key& key, std::string* target) {
    *target = read_text(node, key);
  }

  static void read_value(const Node& node, const Key& key, bool* target) {
    if (scalar_meaning(node, key) != Node::Meaning::boolean) refuse(node, key);
    *target = node.scalar == "true";
  }

  static void read_value(const Node& node, const Key& key, int* target) {
    *target = read_integer<int>(node, key);
  }
  static void read_value(const Node& node, const Key& key, int64_t* target) {
    *target = read_integer<int64_t>(node, key);
  }
  static void read_value(const Node& node, const Key& key, uint64_t* target) {
    *target = read_integer<uint64_t>(node, key);
  }
  static void read_value(const Node& node, const Key& key, double* target) {
    *target = read_double(node, key);
  }

  static void read_value(const Node& node, const Key& key, std::optional<int64_t>* target) {
    target->reset();
    if (node.kind != Node::Kind::null) *target = read_integer<int64_t>(node, key);
  }

  // The items of a list. null is an empty list, as it is after a key whose items are all commented out.
  static const std::vector<Node>& items_of(const Node& node, const Key& key) {
    if (node.kind != Node::Kind::list && node.kind != Node::Kind::null) refuse(node, key);
    return node.items;
  }

  static void read_value(const Node& node, const Key& key, std::vector<double>* target) {
    target->clear();
    for (const Node& item : items_of(node, key)) target->push_back(read_double(item, key));
  }

  static void read_value(const Node& node, const Key& key, std::vector<std::string>* target) {
    target->clear();
    if (node.kind == Node::Kind::scalar && !key.in_place_of_list.empty() &&
        node.scalar == key.in_place_of_list)
      return target->push_back(node.scalar);
    for (const Node& item : items_of(node, key)) target->push_back(read_text(item, key));
  }

  void read_value(const Node& node, const Key& key, nlohmann::json* target) {
    const bool is_list = target->is_array();
    if (node.kind != Node::Kind::null && node.kind != (is_list ? Node::Kind::list : Node::Kind::map))
      refuse(node, key);
    *target = is_list ? nlohmann::json::array() : nlohmann::json::object();
    if (node.kind != Node::Kind::null) *target = to_json(node, key.path);
    for (const Entry& entry : node.entries) add_place(join(key.path, entry.key), entry.value.origin);
  }

  static void read_value(const Node& node, const Key& key, PatternNumbers* target) {
    target->items.clear();
    if (node.kind != Node::Kind::map && node.kind != Node::Kind::null) refuse(node, key);
    for (const Entry& entry : node.entries)
      target->items.emplace_back(entry.key, read_double(entry.value, key));
  }

  static void read_value(const Node& node, const Key& key, const PartitionTarget& target) {
    target.name->clear();
    target.list->clear();
    if (node.kind == Node::Kind::list)
      for (const Node& item : node.items) target.list->push_back(read_integer<int>(item, key));
    else
      *target.name = read_text(node, key);
  }

  static void read_value(const Node& node, const Key& key, const OptionTarget& target) {
    if (target.option.nullable() && node.kind == Node::Kind::null)
      return target.values->erase(target.option.name);
    std::visit(
        [&](auto value) {
          read_value(node, key, &value);
          target.values->set(target.option.name, std::move(value));
        },
        target.option.initial);
  }

  void read_value(const Node& node, const Key& key, const GroupsTarget& target) {
    std::vector<OptimizerGroup>& groups = target.optimizer->groups;
    groups.clear();
    for (const Node& item : items_of(node, key)) {
      const std::string path = source_path(key.path, groups.size());
      OptimizerGroup& group = groups.emplace_back();
      if (item.kind == Node::Kind::null)
        throw UserError(
            "{}: found nothing; a group such as {{match: [\"*norm*\"], weight_decay: 0.0}} is wanted",
            item.origin.place(path));
      add_place(path, item.origin);
      read_name(item, path, group.name);
      read_section(item, path, group_schema(*target.optimizer, group, path, file_.place(join(path, "name"))));
    }
  }

  // The options of a callback that is not known here: a host program's, whose configuration another process
  // reads.
  static OptionValues options_as_written(const Node& node, const std::string& path) {
    OptionValues options;
    for (const Entry& entry : node.entries) {
      if (entry.key == "name") continue;
      const nlohmann::json value = to_json(entry.value, join(path, entry.key));
      if (value.is_boolean())
        options.set(entry.key, value.get<bool>());
      else if (value.is_number_integer())
        options.set(entry.key, value.get<int64_t>());
      else if (value.is_number())
        options.set(entry.key, value.get<double>());
      else if (value.is_string())
        options.set(entry.key, value.get<std::string>());
    }
    return options;
  }

  void read_value(const Node& node, const Key& key, const CallbacksTarget& target) {
    target.callbacks->clear();
    for (const Node& item : items_of(node, key)) {
      const std::string path = source_path(key.path, target.callbacks->size());
      CallbackConfig& callback = target.callbacks->emplace_back();
      add_place(path, item.origin);
      if (item.kind != Node::Kind::map) {
        if (item.kind != Node::Kind::scalar || item.meaning() != Node::Meaning::text || item.scalar.empty())
          throw UserError(
              "{}: found {}; a name, or a map such as {{name: early_stopping, patience: 3}}, is wanted",
              item.origin.place(path), item.describe());
        callback.name = item.scalar;
      } else {
        read_name(item, path, callback.name);
        if (callback.name.empty())
          throw UserError("{}: has no name; a map such as {{name: early_stopping, patience: 3}} is wanted",
                          item.origin.place(path));
        if (!callback_declarations().contains(callback.name))
          callback.options = options_as_written(item, path);
        read_section(item, path, callback_schema(callback, path));
      }
      if (callback.name.size() > longest_config_text)
        throw UserError("{}: a text of {} bytes; at most {} are wanted", item.origin.place(path),
                        callback.name.size(), longest_config_text);
    }
  }

  void read_value(const Node& node, const Key& key, std::vector<DataSource>* target) {
    target->clear();
    for (const Node& item : items_of(node, key)) {
      const std::string path = source_path(key.path, target->size());
      DataSource& source = target->emplace_back();
      source.line = item.origin.line;
      if (item.kind == Node::Kind::null)
        throw UserError("{}: found nothing; a source such as {{path: \"data/*.txt\"}} is wanted",
                        item.origin.place(path));
      add_place(path, item.origin);
      read_section(item, path, source_schema(source, path));
    }
  }

  void read_value(const Node& node, const Key& key, std::vector<EvalSet>* target) {
    target->clear();
    for (const Node& item : items_of(node, key)) {
      const std::string path = source_path(key.path, target->size());
      EvalSet& set = target->emplace_back();
      set.source.line = item.origin.line;
      if (item.kind == Node::Kind::null)
        throw UserError("{}: found nothing; a set such as {{name: held_out, path: \"data/*.txt\"}} is wanted",
                        item.origin.place(path));
      add_place(path, item.origin);
      read_section(item, path, set_schema(set, path));
    }
  }

  // A name, or a map of a name and options.
  void read_value(const Node& node, const Key& key, std::vector<MetricConfig>* target) {
    target->clear();
    for (const Node& item : items_of(node, key)) {
      const std::string path = source_path(key.path, target->size());
      MetricConfig& metric = target->emplace_back();
      add_place(path, item.origin);
      if (item.kind == Node::Kind::scalar) {
        metric.name = read_text(item, Key(path, &metric.name));
        add_place(join(path, "name"), item.origin);
        continue;
      }
      if (item.kind != Node::Kind::map) refuse(item, key);
      read_name(item, path, metric.name);
      if (metric.name.empty())
        throw UserError("{}: missing; the name of a metric is wanted", item.origin.place(join(path, "name")));
      Keys keys{Key(path + ".name", &metric.name)};
      if (metric_declarations().contains(metric.name))
        for (Key& option :
             option_schema(metric_declarations().find(metric.name).options, metric.options, path))
          keys.push_back(std::move(option));
      else  // which is refused by its kind of set
        check_metric(metric, SetKind::perplexity, path,
                     [&](const std::string& at) { return file_.place(at); });
      read_section(item, path, keys);
    }
  }

  Config& config_;
  Keys keys_;
  ConfigFile& file_;
  Places places_;
  PluginLoader load_plugin_;
};

}  // namespace

}  // namespace config

namespace {

Config read_config(const std::string& yaml, const std::string& file, const std::vector<std::string>& settings,
                   std::vector<std::string>& warnings, config::PluginLoader load_plugin) {
  config::Origin origin;
  origin.file = file;
  config::Node root = config::parse_yaml(yaml, origin, "");
  for (const std::string& setting : settings) config::apply_setting(root, setting);
  Config result;
  result.file.path = file;
  config::Reader reader(result, origin, std::move(load_plugin));
  reader.read(root);
  complete_with_callbacks(result);
  config::check_all(result, reader.places(), warnings);
  return result;
}

}  // namespace

std::string ConfigFile::place(const std::string& key) const {
  const auto found = places.find(key);
  return found == places.end() ? key : found->second;
}

Config parse_config(const std::string& yaml) {
  std::vector<std::string> ignored;  // its writer has seen the warnings already
  return read_config(yaml, "", {}, ignored, [](const std::string&, const config::Origin&) {});
}

Config load_config(const std::string& file, const std::vector<std::string>& settings,
                   std::vector<std::string>& warnings, PluginSource plugins) {
  const auto load = [&](const std::string& path, const config::Origin& origin) {
    const std::string place = origin.place("plugins");
    if (plugins == PluginSource::settings && !origin.from_setting)
      throw UserError(
          "{}: found '{}'; a plugin is a program, and none is run because a run's folder names it: name it "
          "yourself, --set 'plugins=[{}]', or leave it out, --set 'plugins=[]'",
          place, shortened(path, 200), shortened(path, 200));
    load_plugin(path, place);
  };
  return read_config(file.empty() ? "" : read_stream(file, config::longest_yaml), file, settings, warnings,
                     load);
}

}  // namespace collie
