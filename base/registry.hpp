// A registry maps names to factories. Optimizers, losses, learning-rate schedules, callbacks and the rest are
// found this way. Built-in pieces register exactly as those of a host program or a plugin do.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

// While one lives, no registry takes a name that it has already on this thread. A plugin registers its pieces
// so: whoever names it in a configuration does not know what it would replace.
class NewNamesOnly {
 public:
  NewNamesOnly();
  ~NewNamesOnly();
  NewNamesOnly(const NewNamesOnly&) = delete;
  NewNamesOnly& operator=(const NewNamesOnly&) = delete;
  static bool wanted();
};

template <class Factory>
class Registry {
 public:
  // `kind` is the word used in messages ("optimizer"), `key` the configuration key that names one
  // ("optimizer.name").
  Registry(std::string kind, std::string key) : kind_(std::move(kind)), key_(std::move(key)) {}

  // Adds `name`. An existing name is replaced, so that a host program may override a built-in piece; a plugin
  // may not (NewNamesOnly), and gets a UserError.
  void add(const std::string& name, Factory factory) {
    const std::lock_guard lock(mutex_);
    if (NewNamesOnly::wanted() && factories_.count(name) > 0)
      throw UserError("{} '{}' is registered already; a plugin's pieces need names of their own", kind_,
                      shortened(name));
    factories_[name] = std::move(factory);
  }

  const std::string& key() const { return key_; }

  bool contains(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    return factories_.count(name) > 0;
  }

  // Throws a UserError that lists the known names. `where` says in the message where `name` was given; if it
  // is empty, the message has the configuration key.
  Factory find(const std::string& name, const std::string& where = "") const {
    const std::lock_guard lock(mutex_);
    const auto found = factories_.find(name);
    if (found == factories_.end())
      throw UserError("{}: unknown {} '{}'; known: {}", where.empty() ? key_ : where, kind_, shortened(name),
                      join_names());
    return found->second;
  }

  std::vector<std::string> names() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> all;
    for (const auto& [name, factory] : factories_) all.push_back(name);
    return all;
  }

 private:
  std::string join_names() const {
    std::string all;
    for (const auto& [name, factory] : factories_) all += (all.empty() ? "" : ", ") + name;
    return all;
  }

  std::string kind_, key_;
  mutable std::mutex mutex_;
  std::map<std::string, Factory> factories_;
};

}  // namespace collie
