// Where tests find their files: in the bundle that they are part of (scripts/bundle.sh), else where they were
// built from. Who includes it defines COLLIE_SOURCE_DIR.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace collie::test {

inline std::optional<std::filesystem::path> bundle_folder() {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  if (!std::filesystem::exists(folder / "MANIFEST")) return std::nullopt;
  return folder;
}

// Has tests/golden and configs; the floors' sources are in the source tree alone.
inline std::filesystem::path source_folder() {
  return bundle_folder().value_or(COLLIE_SOURCE_DIR);
}

inline std::string golden_file(const std::string& name) {
  return (source_folder() / "tests/golden" / name).string();
}

#ifdef COLLIE_EXAMPLE_PLUGIN
inline std::string example_plugin() {
  const auto bundle = bundle_folder();
  return bundle ? (*bundle / "lib/example_plugin.so").string() : COLLIE_EXAMPLE_PLUGIN;
}
#endif

// Real material that is not part of the project; tests that need it skip, visibly, where it is absent.
inline std::string shared_data(const std::string& name) {
  return (source_folder() / "../shared/data" / name).string();
}

}  // namespace collie::test
