#include "io/checkpoint_manifest.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "io/checkpoint_name.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/run_marker.hpp"
#include "io/sealed_json.hpp"
#include "kernels/tensor.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// The version of the format that a text claims, or "".
std::string format_in(const std::string& text) {
  const std::string begin = "\"collie-engine checkpoint ";
  const size_t at = text.find(begin);
  if (at == std::string::npos) return "";
  const size_t digits = at + begin.size(), end = text.find('"', digits);
  const std::string version = text.substr(digits, end - digits);
  const bool is_number =
      !version.empty() && version.size() < 10 && version.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? text.substr(at + 1, end - at - 1) : "";
}

bool is_earlier(const std::string& format) {
  const std::string own = checkpoint_format;
  return format.size() != own.size() ? format.size() < own.size() : format < own;
}

// Tells a file of another version from a damaged one.
void check_format(const std::string& text, const std::string& file) {
  const std::string format = format_in(text);
  if (format.empty() || format == checkpoint_format) return;
  throw UserError(
      "{}: it was written by {} version of collie-engine, in the format \"{}\"; this version reads \"{}\"",
      file, is_earlier(format) ? "an earlier" : "a later", format, checkpoint_format);
}

class ManifestReader {
 public:
  explicit ManifestReader(std::string file) : file_(std::move(file)) {}

  Manifest read(const json& object, const std::string& folder_name) {
    if (text(object, "format") != checkpoint_format)
      refuse("\"format\" is \"{}\"; it must be \"{}\"", text(object, "format"), checkpoint_format);
    Manifest manifest;
    manifest.step = number(object, "step", 0);
    if (checkpoint_name(manifest.step) != folder_name)
      refuse("\"step\" is {}, but the folder is {}; it must be the step of the folder's name", manifest.step,
             folder_name);
    manifest.run = text(object, "run");
    manifest.metadata = member(object, "metadata", json::value_t::object);
    number(manifest.metadata, "position", 0);
    member(manifest.metadata, "maths", json::value_t::object);
    for (const json& entry : member(object, "files", json::value_t::array))
      manifest.files.push_back(read_file(entry));
    for (const json& entry : member(object, "slices", json::value_t::array))
      manifest.slices.push_back(read_slice(entry));
    return manifest;
  }

 private:
  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw UserError("{}: {}", file_, fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  const json& member(const json& object, const char* key) const {
    if (!object.is_object()) refuse("an entry is {}; it must be an object", object.type_name());
    const auto found = object.find(key);
    if (found == object.end()) refuse("the key \"{}\" is missing", key);
    return *found;
  }

  const json& member(const json& object, const char* key, json::value_t type) const {
    const json& found = member(object, key);
    if (found.type() != type)
      refuse("\"{}\" is {}; it must be {}", key, found.type_name(), json(type).type_name());
    return found;
  }

  std::string text(const json& object, const char* key) const {
    auto found = member(object, key, json::value_t::string).get<std::string>();
    constexpr size_t longest = 512;  // so that no message about it is long
    if (found.empty()) refuse("\"{}\" is empty", key);
    if (found.size() > longest)
      refuse("\"{}\" has {} bytes; at most {} are wanted", key, found.size(), longest);
    return found;
  }

  int64_t whole_number(const json& value, const char* key, int64_t least) const {
    // In parsed text, numbers of at least 0 are unsigned.
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX} ||
        value.get<int64_t>() < least)
      refuse("\"{}\" has {}; a whole number of at least {} is wanted", key, in_short(value), least);
    return value.get<int64_t>();
  }

  int64_t number(const json& object, const char* key, int64_t least) const {
    return whole_number(member(object, key), key, least);
  }

  std::vector<int64_t> numbers(const json& object, const char* key, int64_t least) const {
    std::vector<int64_t> all;
    for (const json& value : member(object, key, json::value_t::array))
      all.push_back(whole_number(value, key, least));
    if (all.size() > size_t{Shape::max_rank})
      refuse("\"{}\" has {} dimensions; there are at most {}", key, all.size(), Shape::max_rank);
    return all;
  }

  ManifestFile read_file(const json& entry) {
    ManifestFile file;
    file.name = text(entry, "name");
    if (!is_plain_name(file.name) || file.name == manifest_name || file.name == marker_name)
      refuse("a file is called {}; it must be the name of a file in the folder", in_short(file.name));
    if (!files_.insert(file.name).second) refuse("the file '{}' is listed twice", file.name);
    file.bytes = static_cast<uint64_t>(number(entry, "bytes", 0));
    file.sha256 = text(entry, "sha256");
    if (file.sha256.size() != 64 || file.sha256.find_first_not_of("0123456789abcdef") != std::string::npos)
      refuse("the \"sha256\" of '{}' is not 64 hexadecimal digits", file.name);
    return file;
  }

  ManifestSlice read_slice(const json& entry) {
    ManifestSlice slice;
    slice.name = text(entry, "name");
    slice.state = text(entry, "state");
    slice.file = text(entry, "file");
    slice.tensor = text(entry, "tensor");
    slice.dtype = text(entry, "dtype");
    slice.global_shape = numbers(entry, "global_shape", 1);
    slice.offsets = numbers(entry, "offsets", 0);
    slice.shape = numbers(entry, "shape", 1);
    check_place(slice);
    if (!files_.count(slice.file)) refuse("'{}' is in '{}', which is not listed", slice.name, slice.file);
    if (!tensors_.emplace(slice.file, slice.tensor).second)
      refuse("two slices are the tensor '{}' of '{}'", slice.tensor, slice.file);
    return slice;
  }

  void check_place(const ManifestSlice& slice) const {
    const size_t rank = slice.global_shape.size();
    if (slice.offsets.size() != rank || slice.shape.size() != rank)
      refuse("{} of '{}': \"offsets\", \"shape\" and \"global_shape\" are not of the same rank", slice.state,
             slice.name);
    int64_t bytes = 8;  // the bytes of the largest element
    for (size_t axis = 0; axis < rank; ++axis) {
      if (__builtin_mul_overflow(bytes, slice.global_shape[axis], &bytes))
        refuse("{} of '{}': \"global_shape\" is of more than any memory holds", slice.state, slice.name);
      if (slice.shape[axis] > slice.global_shape[axis] ||
          slice.offsets[axis] > slice.global_shape[axis] - slice.shape[axis])
        refuse("{} of '{}': a slice of {} at {} does not lie within {}", slice.state, slice.name,
               json(slice.shape).dump(), json(slice.offsets).dump(), json(slice.global_shape).dump());
    }
  }

  std::string file_;
  std::set<std::string> files_;
  std::set<std::pair<std::string, std::string>> tensors_;
};

void check_file(const fs::path& path, const ManifestFile& expected) {
  std::error_code error;
  const auto status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found)
    throw UserError("{}: it is missing; the checkpoint's manifest names it", path.string());
  if (status.type() != fs::file_type::regular)
    throw UserError("{}: it is no regular file, as the checkpoint's manifest has it", path.string());
  const auto bytes = fs::file_size(path, error);
  if (error) throw UserError("{}: {}", path.string(), error.message());
  if (bytes != expected.bytes)
    throw UserError("{}: {} bytes long, its manifest says {}", path.string(), bytes, expected.bytes);
  if (const std::string hash = sha256_of_file(path.string()); hash != expected.sha256)
    throw UserError("{}: its SHA-256 is {}, its manifest says {}", path.string(), hash, expected.sha256);
}

}  // namespace

std::string text_of(const Manifest& manifest) {
  json object = {{"format", checkpoint_format},   {"step", manifest.step},  {"run", manifest.run},
                 {"metadata", manifest.metadata}, {"files", json::array()}, {"slices", json::array()}};
  for (const ManifestFile& file : manifest.files)
    object["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  for (const ManifestSlice& slice : manifest.slices)
    object["slices"].push_back({{"name", slice.name},
                                {"state", slice.state},
                                {"file", slice.file},
                                {"tensor", slice.tensor},
                                {"dtype", slice.dtype},
                                {"global_shape", slice.global_shape},
                                {"offsets", slice.offsets},
                                {"shape", slice.shape}});
  return seal(object);
}

Manifest read_manifest(const std::string& folder) {
  const std::string file = (fs::path(folder) / manifest_name).string();
  const std::string text = read_text_file(file);
  check_format(text, file);
  return ManifestReader(file).read(unseal(text, file), fs::path(folder).filename().string());
}

void check_files(const Manifest& manifest, const std::string& folder) {
  for (const ManifestFile& file : manifest.files) check_file(fs::path(folder) / file.name, file);
}

}  // namespace collie
