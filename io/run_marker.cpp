#include "io/run_marker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/sealed_json.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* marker_format = "collie-engine run 1";

bool is_hexadecimal(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

[[noreturn]] void refuse_marker(const std::string& file, const std::string& what) {
  throw UserError("{}: {}; it is not a marker that this version of collie-engine writes", file, what);
}

std::map<std::string, std::string> files_of(const json& files, const std::string& file) {
  if (!files.is_object()) refuse_marker(file, "\"files\" is no object");
  std::map<std::string, std::string> all;
  for (const auto& [name, hash] : files.items()) {
    if (!is_plain_path(name)) refuse_marker(file, fmt::format("\"files\" names '{}'", shortened(name)));
    if (!hash.is_string()) refuse_marker(file, fmt::format("the hash of '{}' is no text", shortened(name)));
    all[name] = hash.get<std::string>();
    if (!all[name].empty() && !is_hexadecimal(all[name], 64))
      refuse_marker(file, fmt::format("the hash of '{}' is '{}'", shortened(name), shortened(all[name])));
  }
  return all;
}

RunMarker parse(const json& object, const std::string& file) {
  const auto member = [&](const char* key) -> const json& {
    const auto found = object.find(key);
    if (found == object.end()) refuse_marker(file, fmt::format("\"{}\" is missing", key));
    return *found;
  };
  if (member("format") != marker_format) refuse_marker(file, "\"format\" is another");
  RunMarker marker;
  if (!member("run").is_string() || !is_hexadecimal(member("run").get<std::string>(), 32))
    refuse_marker(file, "\"run\" is no run's id");
  marker.run = member("run").get<std::string>();
  if (!member("files").is_null()) marker.files = files_of(member("files"), file);
  if (!member("has_checkpointed").is_boolean())
    refuse_marker(file, "\"has_checkpointed\" is neither true nor false");
  marker.has_checkpointed = member("has_checkpointed").get<bool>();
  return marker;
}

std::string text_of(const RunMarker& marker) {
  json object = {{"format", marker_format},
                 {"run", marker.run},
                 {"files", nullptr},
                 {"has_checkpointed", marker.has_checkpointed}};
  if (marker.files) object["files"] = json(*marker.files);
  return seal(object);
}

}  // namespace

std::string new_run_id() {
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word) id += fmt::format("{:08x}", random());
  return id;
}

void write_marker(const std::string& folder, const RunMarker& marker) {
  write_file_durably((fs::path(folder) / marker_name).string(), text_of(marker));
}

void create_marker(const std::string& folder, const RunMarker& marker) {
  create_file((fs::path(folder) / marker_name).string(), text_of(marker));
}

std::optional<RunMarker> read_marker(const std::string& folder) {
  const std::string file = (fs::path(folder) / marker_name).string();
  if (!entry_exists(file)) return std::nullopt;
  return parse(unseal(read_text_file(file), file), file);
}

std::optional<RunMarker> find_marker(const std::string& folder) noexcept {
  try {
    return read_marker(folder);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

bool is_plain_path(const std::string& path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (!is_plain_name(path.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace collie
