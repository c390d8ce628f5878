// A configuration for people to go on with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "io/config.hpp"

namespace collie {

// The keys that are `wanted` ("optimizer.lr"), in the order of the schema, with their values in force, each
// with a comment that says what it means and what it may be. load_config() reads it back. `names` is as for
// describe_keys().
std::string commented_yaml(const Config& config, const std::vector<std::string>& wanted,
                           const std::map<std::string, std::vector<std::string>>& names);

}  // namespace collie
