// Plugins: shared libraries that register pieces (base/plugin.hpp). A process loads those that its own
// configuration or its own command names, never those that another process asks for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace collie {

struct Plugin {
  std::string path;                  // absolute, without links
  std::string sha256;                // of the file
  std::vector<std::string> formats;  // the data set formats that it registered
  std::string name() const;          // the file's name, the same on every machine
};

// Loads a plugin, which stays loaded; nothing happens if the file has been loaded before. Throws UserError,
// with `place` in front, if the file cannot be read, is not a plugin, was compiled against another version of
// the engine, or has a copy of the engine of its own, if a name that it registers is taken, or if it throws.
// What it has registered until then stays.
void load_plugin(const std::string& path, const std::string& place);

std::vector<Plugin> loaded_plugins();  // in the order of loading

// Those of `paths`, as a configuration has them. Throws UserError if one has not been loaded: a host program
// calls load_plugin() before it plans a run that has plugins.
std::vector<Plugin> find_plugins(const std::vector<std::string>& paths);

// {NAME: sha256} of the plugins, for checkpoints and other processes.
nlohmann::json hashes_of(const std::vector<Plugin>& plugins);

// Throws UserError unless this process has loaded all plugins of `hashes`, which another process's
// hashes_of() has made, from the same files.
void check_plugins(const nlohmann::json& hashes);

// The hash of the plugin that registered the data set format, or "".
std::string plugin_of_format(const std::string& format);

}  // namespace collie
