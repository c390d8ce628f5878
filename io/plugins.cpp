#include "io/plugins.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <span>

#include "base/engine_identity.hpp"
#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/quote.hpp"
#include "base/registry.hpp"
#include "base/sha256.hpp"
#include "io/dataset_formats.hpp"
#include "io/files.hpp"
#include "io/plugin_file.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

using EntryPoint = bool (*)(const void* engine);

struct Loaded {
  std::mutex mutex;
  std::vector<Plugin> plugins;
};

Loaded& loaded() {
  static Loaded all;
  return all;
}

std::string canonical(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  return error ? fs::absolute(path).string() : whole.string();  // reading it gives the reason
}

const Plugin* find(const std::vector<Plugin>& plugins, const std::string& path) {
  const auto found =
      std::find_if(plugins.begin(), plugins.end(), [&](const Plugin& plugin) { return plugin.path == path; });
  return found == plugins.end() ? nullptr : &*found;
}

std::string bytes_of(const std::string& path, const std::string& place) {
  try {
    return read_text_file(path);
  } catch (const UserError& error) {
    throw UserError("{}: {}", place, error.what());
  }
}

void check_interface(const std::string& bytes, const std::string& where) {
  const std::string found = interface_of_plugin(bytes, where), here = engine_interface();
  if (found != here)
    throw UserError(
        "{} was compiled against collie-engine {}, and this is collie-engine {}; compile it again, against "
        "this one",
        where, found, here);
}

// Processes tell each other of plugins by these names.
void check_name(const Plugin& plugin, const std::string& where) {
  for (const Plugin& other : loaded().plugins)
    if (other.name() == plugin.name())
      throw UserError("{}: another plugin of that name is loaded, '{}'; files need names of their own", where,
                      other.path);
}

EntryPoint entry_point_of(const std::string& path, const std::string& where) {
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw UserError("{} cannot be loaded: {}", where, ::dlerror());
  void* const entry = ::dlsym(library, "collie_register_plugin");
  if (entry == nullptr) throw UserError("{} has no function collie_register_plugin", where);
  return reinterpret_cast<EntryPoint>(entry);
}

void register_pieces(EntryPoint entry, const std::string& where) {
  const NewNamesOnly strict;
  bool is_ours = false;
  try {
    is_ours = entry(this_engine());
  } catch (...) {
    throw UserError("{}: {}", where, reason_of_current_exception());
  }
  if (!is_ours)
    throw UserError(
        "{} is linked with another copy of the engine than this program; both must link the shared library "
        "(collie::engine)",
        where);
}

// `names` without those of `before`; both are sorted.
std::vector<std::string> without(const std::vector<std::string>& names,
                                 const std::vector<std::string>& before) {
  std::vector<std::string> more;
  std::set_difference(names.begin(), names.end(), before.begin(), before.end(), std::back_inserter(more));
  return more;
}

}  // namespace

std::string Plugin::name() const {
  return fs::path(path).filename().string();
}

void load_plugin(const std::string& path, const std::string& place) {
  const std::lock_guard lock(loaded().mutex);
  Plugin plugin;
  plugin.path = canonical(path);
  if (find(loaded().plugins, plugin.path) != nullptr) return;
  const std::string bytes = bytes_of(path, place),
                    where = fmt::format("{}: '{}'", place, shortened(path, 200));
  check_interface(bytes, where);
  check_name(plugin, where);
  plugin.sha256 = sha256_hex(std::as_bytes(std::span(bytes)));
  const std::vector<std::string> formats = dataset_formats().names();
  register_pieces(entry_point_of(plugin.path, where), where);
  plugin.formats = without(dataset_formats().names(), formats);
  loaded().plugins.push_back(std::move(plugin));
}

std::vector<Plugin> loaded_plugins() {
  const std::lock_guard lock(loaded().mutex);
  return loaded().plugins;
}

std::vector<Plugin> find_plugins(const std::vector<std::string>& paths) {
  const std::vector<Plugin> all = loaded_plugins();
  std::vector<Plugin> found;
  for (const std::string& path : paths) {
    const Plugin* const plugin = find(all, canonical(path));
    if (plugin == nullptr)
      throw UserError("plugins: '{}' is not loaded; a host program calls load_plugin() before it plans a run",
                      shortened(path, 200));
    found.push_back(*plugin);
  }
  return found;
}

nlohmann::json hashes_of(const std::vector<Plugin>& plugins) {
  nlohmann::json hashes = nlohmann::json::object();
  for (const Plugin& plugin : plugins) hashes[plugin.name()] = plugin.sha256;
  return hashes;
}

void check_plugins(const nlohmann::json& hashes) {
  const std::vector<Plugin> here = loaded_plugins();
  for (const auto& [name, value] : hashes.items()) {
    const auto hash = value.get<std::string>();
    if (std::any_of(here.begin(), here.end(), [&](const Plugin& plugin) { return plugin.sha256 == hash; }))
      continue;
    const auto other = std::find_if(
        here.begin(), here.end(), [&, &name = name](const Plugin& plugin) { return plugin.name() == name; });
    if (other != here.end())
      throw UserError(
          "the run's plugin {} has the SHA-256 {}, and '{}' here has {}; all processes of a run need the "
          "same "
          "file",
          shortened(name), hash, other->path, other->sha256);
    throw UserError(
        "the run has the plugin {} (SHA-256 {}), which this process was not told to load; start it with "
        "--plugin {}",
        shortened(name), hash, shortened(name));
  }
}

std::string plugin_of_format(const std::string& format) {
  for (const Plugin& plugin : loaded_plugins())
    if (std::count(plugin.formats.begin(), plugin.formats.end(), format)) return plugin.sha256;
  return "";
}

}  // namespace collie
