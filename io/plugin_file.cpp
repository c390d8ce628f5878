// ELF as the System V ABI and elf(5) describe it.
#include "io/plugin_file.hpp"

#include <elf.h>
#include <link.h>

#include <cstring>
#include <optional>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

constexpr std::string_view note_name("collie-engine\0", 14);
constexpr uint32_t note_type = 1;

using Header = ElfW(Ehdr);
using Segment = ElfW(Phdr);
using Note = ElfW(Nhdr);

// A structure at a place of the file; nothing if it is not wholly there.
template <class Structure>
std::optional<Structure> read_at(std::string_view bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(Structure)) return std::nullopt;
  Structure result;
  std::memcpy(&result, bytes.data() + offset, sizeof result);
  return result;
}

bool is_shared_library(const Header& header) {
  constexpr int native_class = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == native_class &&
         header.e_type == ET_DYN && header.e_phentsize == sizeof(Segment);
}

constexpr uint64_t padded(uint32_t size) {
  return (uint64_t{size} + 3) / 4 * 4;
}

// The descriptor of the plugin's note among the notes of a segment.
std::optional<std::string> find_note(std::string_view notes) {
  while (const auto note = read_at<Note>(notes, 0)) {
    const uint64_t descriptor = sizeof(Note) + padded(note->n_namesz),
                   next = descriptor + padded(note->n_descsz);
    if (next > notes.size()) break;
    if (note->n_type == note_type && notes.substr(sizeof(Note), note->n_namesz) == note_name)
      return std::string(notes.substr(descriptor, note->n_descsz));
    notes.remove_prefix(next);
  }
  return std::nullopt;
}

}  // namespace

std::string interface_of_plugin(std::string_view bytes, const std::string& where) {
  const auto header = read_at<Header>(bytes, 0);
  if (!header || !is_shared_library(*header))
    throw UserError("{} is not a shared library of this kind of machine; a plugin is one (docs/extending.md)",
                    where);
  std::optional<std::string> found;
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = read_at<Segment>(bytes, header->e_phoff + i * sizeof(Segment));
    // The dynamic linker maps segments without a look at the file's size. Touching what is not there is a
    // signal.
    if (!segment || segment->p_offset > bytes.size() || bytes.size() - segment->p_offset < segment->p_filesz)
      throw UserError("{} is a shared library that was cut: it has {} bytes, and more are wanted", where,
                      bytes.size());
    if (segment->p_type == PT_NOTE && !found)
      found = find_note(bytes.substr(segment->p_offset, segment->p_filesz));
  }
  if (!found)
    throw UserError(
        "{} is a shared library, but not a plugin: it lacks the entry point that COLLIE_PLUGIN "
        "(base/plugin.hpp) makes",
        where);
  return shortened(*found);
}

}  // namespace collie
