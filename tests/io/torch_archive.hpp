// Makes archives as torch.save does, and those that it never would.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace collie::test {

using Entries = std::vector<std::pair<std::string, std::string>>;  // names and bytes

template <class Number>
std::string raw_bytes(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof(number)};
}

struct ZipSettings {
  uint16_t method = 0, flags = 0;
  bool zip64 = false;  // all numbers stand in the zip64 fields
};

inline std::string zip_of(const Entries& entries, const ZipSettings& settings = {}) {
  std::string file, directory;
  for (const auto& [name, bytes] : entries) {
    const uint64_t place = file.size(), size = bytes.size();
    const uint32_t short_size = settings.zip64 ? 0xFFFFFFFFu : static_cast<uint32_t>(size);
    const uint32_t short_place = settings.zip64 ? 0xFFFFFFFFu : static_cast<uint32_t>(place);
    const std::string extra = settings.zip64 ? raw_bytes(uint16_t{1}) + raw_bytes(uint16_t{24}) +
                                                   raw_bytes(size) + raw_bytes(size) + raw_bytes(place)
                                             : std::string();
    const std::string common = raw_bytes(uint16_t{20}) + raw_bytes(settings.flags) +
                               raw_bytes(settings.method) + raw_bytes(uint32_t{0}) + raw_bytes(uint32_t{0}) +
                               raw_bytes(short_size) + raw_bytes(short_size) +
                               raw_bytes(static_cast<uint16_t>(name.size()));
    const std::string padding = "PADDING";  // PyTorch pads the local header's extra field
    file += raw_bytes(uint32_t{0x04034b50}) + common + raw_bytes(static_cast<uint16_t>(padding.size())) +
            name + padding + bytes;
    directory += raw_bytes(uint32_t{0x02014b50}) + raw_bytes(uint16_t{20}) + common +
                 raw_bytes(static_cast<uint16_t>(extra.size())) + raw_bytes(uint16_t{0}) +
                 raw_bytes(uint16_t{0}) + raw_bytes(uint16_t{0}) + raw_bytes(uint32_t{0}) +
                 raw_bytes(short_place) + name + extra;
  }
  const uint64_t begin = file.size(), size = directory.size(), count = entries.size();
  file += directory;
  if (settings.zip64) {
    const uint64_t end64 = file.size();
    file += raw_bytes(uint32_t{0x06064b50}) + raw_bytes(uint64_t{44}) + raw_bytes(uint16_t{20}) +
            raw_bytes(uint16_t{20}) + raw_bytes(uint32_t{0}) + raw_bytes(uint32_t{0}) + raw_bytes(count) +
            raw_bytes(count) + raw_bytes(size) + raw_bytes(begin);
    file +=
        raw_bytes(uint32_t{0x07064b50}) + raw_bytes(uint32_t{0}) + raw_bytes(end64) + raw_bytes(uint32_t{1});
  }
  const auto short_count = settings.zip64 ? uint16_t{0xFFFF} : static_cast<uint16_t>(count);
  file += raw_bytes(uint32_t{0x06054b50}) + raw_bytes(uint16_t{0}) + raw_bytes(uint16_t{0}) +
          raw_bytes(short_count) + raw_bytes(short_count) +
          raw_bytes(settings.zip64 ? 0xFFFFFFFFu : static_cast<uint32_t>(size)) +
          raw_bytes(settings.zip64 ? 0xFFFFFFFFu : static_cast<uint32_t>(begin)) + raw_bytes(uint16_t{0});
  return file;
}

// --- pieces of pickles (protocol 2)

inline std::string pickled_text(const std::string& value) {
  return "X" + raw_bytes(static_cast<uint32_t>(value.size())) + value;
}
inline std::string pickled_integer(int32_t value) {
  return "J" + raw_bytes(value);
}
inline std::string pickled_name(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple_of(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
inline std::string pickled_integers(const std::vector<int32_t>& values) {
  std::vector<std::string> items;
  for (const int32_t value : values) items.push_back(pickled_integer(value));
  return tuple_of(items);
}
inline std::string pickled_storage(const std::string& key, int32_t elements,
                                   const std::string& type = "FloatStorage") {
  return tuple_of({pickled_text("storage"), pickled_name("torch", type), pickled_text(key),
                   pickled_text("cpu"), pickled_integer(elements)}) +
         "Q";
}
inline std::string pickled_tensor(const std::string& data, int32_t offset, const std::vector<int32_t>& shape,
                                  const std::vector<int32_t>& strides) {
  return pickled_name("torch._utils", "_rebuild_tensor_v2") +
         tuple_of({data, pickled_integer(offset), pickled_integers(shape), pickled_integers(strides), "\x89",
                   pickled_name("collections", "OrderedDict") + ")R"}) +
         "R";
}
inline std::string dict_of(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += pickled_text(key) + value;
  return all + "u";
}
inline std::string pickle_of(const std::string& value) {
  return "\x80\x02" + value + ".";
}

inline std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// An archive of one pickle, with storages "0", "1", ...
inline std::string torch_file(const std::string& pickle, const std::vector<std::string>& storages = {},
                              const ZipSettings& settings = {}) {
  Entries entries = {{"archive/data.pkl", pickle}, {"archive/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); ++i)
    entries.emplace_back("archive/data/" + std::to_string(i), storages[i]);
  return zip_of(entries, settings);
}

}  // namespace collie::test
