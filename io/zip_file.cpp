#include "io/zip_file.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

constexpr uint32_t end_signature = 0x06054b50, end64_signature = 0x06064b50, locator64_signature = 0x07064b50,
                   entry_signature = 0x02014b50, local_signature = 0x04034b50;
constexpr size_t end_bytes = 22, end64_bytes = 56, locator64_bytes = 20, entry_bytes = 46, local_bytes = 30;
constexpr uint16_t stored_method = 0, encrypted_flag = 1, zip64_field = 1;
constexpr uint32_t in_zip64 = 0xFFFFFFFF;  // the number stands in the zip64 field

template <class... Arguments>
[[noreturn]] void refuse_zip(const PositionalFile& file, fmt::format_string<Arguments...> format,
                             Arguments&&... arguments) {
  throw UserError("{}: not a zip archive that can be read: {}", file.path().string(),
                  fmt::format(format, std::forward<Arguments>(arguments)...));
}

template <class Number>
Number number_at(std::string_view bytes, size_t at) {
  Number number;
  COLLIE_ASSERT(at + sizeof(number) <= bytes.size(), "byte {} of {}", at, bytes.size());
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return number;
}

std::string read_part(const PositionalFile& file, uint64_t begin, size_t bytes) {
  std::string text(bytes, '\0');
  file.read(begin, std::as_writable_bytes(std::span(text)));
  return text;
}

struct Directory {
  uint64_t begin, bytes, entries;
};

// The record at the end of the file; a comment may follow it.
std::pair<uint64_t, std::string> find_end(const PositionalFile& file) {
  constexpr uint64_t longest_comment = 65535;
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(file.size(), end_bytes + longest_comment));
  const std::string tail = read_part(file, file.size() - bytes, bytes);
  for (size_t at = bytes < end_bytes ? 0 : bytes - end_bytes + 1; at-- > 0;) {
    if (number_at<uint32_t>(tail, at) != end_signature) continue;
    if (at + end_bytes + number_at<uint16_t>(tail, at + 20) == bytes)
      return {file.size() - bytes + at, tail.substr(at, end_bytes)};
  }
  refuse_zip(file, "its directory at the end is missing (is the file truncated?)");
}

Directory find_directory(const PositionalFile& file) {
  const auto [at, end] = find_end(file);
  Directory directory{number_at<uint32_t>(end, 16), number_at<uint32_t>(end, 12),
                      number_at<uint16_t>(end, 10)};
  const bool is_zip64 =
      directory.begin == in_zip64 || directory.bytes == in_zip64 || directory.entries == 0xFFFF;
  if (is_zip64 && at >= locator64_bytes) {
    const std::string locator = read_part(file, at - locator64_bytes, locator64_bytes);
    const auto begin = number_at<uint64_t>(locator, 8);
    if (number_at<uint32_t>(locator, 0) != locator64_signature || at < end64_bytes ||
        begin > at - end64_bytes)
      refuse_zip(file, "its zip64 directory at the end is damaged");
    const std::string end64 = read_part(file, begin, end64_bytes);
    if (number_at<uint32_t>(end64, 0) != end64_signature)
      refuse_zip(file, "its zip64 directory at the end is damaged");
    directory = {number_at<uint64_t>(end64, 48), number_at<uint64_t>(end64, 40),
                 number_at<uint64_t>(end64, 32)};
  }
  if (directory.bytes > ZipFile::longest_directory)
    refuse_zip(file, "its directory of entries has {} bytes, and at most {} are read", directory.bytes,
               ZipFile::longest_directory);
  if (directory.begin > at || directory.bytes > at - directory.begin)
    refuse_zip(file,
               "its directory of entries ({} bytes from byte {}) does not lie before its end, at byte {}",
               directory.bytes, directory.begin, at);
  return directory;
}

// Takes what the entry says to be in its zip64 field: sizes before and after compression, place, in this
// order.
void read_zip64_field(std::string_view extra, uint64_t& unpacked, uint64_t& packed, uint64_t& header) {
  while (extra.size() >= 4) {
    const auto kind = number_at<uint16_t>(extra, 0);
    const size_t size = number_at<uint16_t>(extra, 2);
    if (size > extra.size() - 4) return;
    std::string_view field = extra.substr(4, size);
    extra.remove_prefix(4 + size);
    if (kind != zip64_field) continue;
    for (uint64_t* number : {&unpacked, &packed, &header}) {
      if (*number != in_zip64 || field.size() < 8) continue;
      *number = number_at<uint64_t>(field, 0);
      field.remove_prefix(8);
    }
  }
}

}  // namespace

ZipFile::ZipFile(const PositionalFile& file) : file_(file) {
  const Directory directory = find_directory(file);
  const std::string text = read_part(file, directory.begin, static_cast<size_t>(directory.bytes));
  std::string_view rest = text;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (rest.size() < entry_bytes || number_at<uint32_t>(rest, 0) != entry_signature)
      refuse_zip(file, "its directory has {} of the {} entries that it says", i, directory.entries);
    const size_t name_bytes = number_at<uint16_t>(rest, 28), extra_bytes = number_at<uint16_t>(rest, 30);
    const size_t all_bytes = entry_bytes + name_bytes + extra_bytes + number_at<uint16_t>(rest, 32);
    if (all_bytes > rest.size()) refuse_zip(file, "entry {} of its directory is cut off", i);
    const std::string name(rest.substr(entry_bytes, name_bytes));
    Entry entry{number_at<uint32_t>(rest, 42), number_at<uint32_t>(rest, 20), number_at<uint32_t>(rest, 24),
                number_at<uint16_t>(rest, 10), number_at<uint16_t>(rest, 8)};
    read_zip64_field(rest.substr(entry_bytes + name_bytes, extra_bytes), entry.unpacked, entry.bytes,
                     entry.header);
    if (!entries_.emplace(name, entry).second) refuse_zip(file, "entry '{}' is there twice", shortened(name));
    rest.remove_prefix(all_bytes);
  }
}

uint64_t ZipFile::begin_of(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) refuse_zip(file_, "it has no entry '{}'", shortened(name));
  const Entry& entry = found->second;
  if ((entry.flags & encrypted_flag) != 0) refuse_zip(file_, "entry '{}' is encrypted", shortened(name));
  if (entry.method != stored_method)
    refuse_zip(file_, "entry '{}' is compressed (method {}); torch.save stores entries as they are",
               shortened(name), entry.method);
  if (entry.bytes != entry.unpacked)
    refuse_zip(file_, "entry '{}' has {} bytes and stores {}; these must be as many", shortened(name),
               entry.unpacked, entry.bytes);
  if (entry.header > file_.size() || file_.size() - entry.header < local_bytes)
    refuse_zip(file_, "entry '{}' would begin at byte {} of {}", shortened(name), entry.header, file_.size());
  const std::string local = read_part(file_, entry.header, local_bytes);
  if (number_at<uint32_t>(local, 0) != local_signature || number_at<uint16_t>(local, 8) != stored_method)
    refuse_zip(file_, "entry '{}': its own header, at byte {}, is damaged", shortened(name), entry.header);
  const uint64_t begin =
      entry.header + local_bytes + number_at<uint16_t>(local, 26) + number_at<uint16_t>(local, 28);
  if (begin > file_.size() || entry.bytes > file_.size() - begin)
    refuse_zip(file_, "entry '{}' has {} bytes from byte {}, and the file has {} (is it truncated?)",
               shortened(name), entry.bytes, begin, file_.size());
  return begin;
}

}  // namespace collie
