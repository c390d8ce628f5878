// The manifest of a checkpoint folder (see io/checkpoint.hpp).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace collie {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* checkpoint_format = "collie-engine checkpoint 1";

// Reads folder/manifest.json and checks its form, and that every file it names is there with the size and
// SHA-256 it states. Throws UserError naming the file, what was found and what would be right.
nlohmann::json read_manifest(const std::string& folder);

}  // namespace collie
