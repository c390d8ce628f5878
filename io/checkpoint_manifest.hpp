// The manifest of a checkpoint folder (io/checkpoint.hpp) says what each of the folder's files holds. It is
// sealed (io/sealed_json.hpp), so that no bit of it can change unseen.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace collie {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* checkpoint_format = "collie-engine checkpoint 2";

struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;
};

// A rectangle of one state of one parameter: [offsets, offsets + shape) of global_shape. It is stored as
// `tensor` of `file`.
struct ManifestSlice {
  std::string name, state, file, tensor, dtype;  // dtype as safetensors spells it
  std::vector<int64_t> global_shape, offsets, shape;
};

struct Manifest {
  int64_t step = 0;
  std::string run;          // RunMarker::run
  nlohmann::json metadata;  // an object, with "position" (an integer, at least 0) and "maths" (an object)
  std::vector<ManifestFile> files;
  std::vector<ManifestSlice> slices;
};

std::string text_of(const Manifest& manifest);

// Reads folder/manifest.json and checks every field: the step is that of the folder's name, every file is
// named once, by a plain name, and every slice is one rectangle of a file's tensor that lies within its
// state. Throws UserError naming the file, what was found and what would be right.
Manifest read_manifest(const std::string& folder);

// Checks that the slices of every state cover it, each element exactly once. Throws UserError naming `file`,
// the parameter and the state.
void check_cover(const std::vector<ManifestSlice>& slices, const std::string& file);

// Checks that every file of the manifest is a regular file in the folder, with the stated size and SHA-256.
// Throws UserError.
void check_files(const Manifest& manifest, const std::string& folder);

}  // namespace collie
