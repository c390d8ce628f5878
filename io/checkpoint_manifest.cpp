#include "io/checkpoint_manifest.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/mapped_file.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

void check_form(const json& manifest, const std::string& file) {
  if (!manifest.is_object() || manifest.value("format", "") != checkpoint_format)
    throw UserError("{}: this is not a checkpoint manifest this version reads; \"format\" must be \"{}\"",
                    file, checkpoint_format);
  for (const char* key : {"step", "metadata", "files", "slices"})
    if (!manifest.contains(key)) throw UserError("{}: the key \"{}\" is missing", file, key);
}

void check_file(const fs::path& path, uint64_t bytes, const std::string& sha256) {
  std::error_code error;
  const auto found = fs::file_size(path, error);
  if (error)
    throw UserError("{}: named by the checkpoint's manifest, but {}", path.string(), error.message());
  if (found != bytes) throw UserError("{}: {} bytes long, its manifest says {}", path.string(), found, bytes);
  if (const std::string hash = sha256_hex(MappedFile(path).bytes()); hash != sha256)
    throw UserError("{}: its SHA-256 is {}, its manifest says {}", path.string(), hash, sha256);
}

}  // namespace

json read_manifest(const std::string& folder) {
  const std::string file = (fs::path(folder) / manifest_name).string();
  try {
    json manifest = parse_json_object(read_text_file(file), file);
    check_form(manifest, file);
    for (const auto& entry : manifest.at("files"))
      check_file(fs::path(folder) / entry.at("name").get<std::string>(), entry.at("bytes").get<uint64_t>(),
                 entry.at("sha256").get<std::string>());
    return manifest;
  } catch (const json::exception& error) {
    throw UserError("{}: {}", file, error.what());
  }
}

}  // namespace collie
