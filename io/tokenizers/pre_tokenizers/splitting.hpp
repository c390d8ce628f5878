// How a pre-tokenizer makes pieces of what it found.
#pragma once

#include "io/tokenizers/components.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/utf8.hpp"

namespace collie {

// What becomes of a match. The `tokenizers` library calls it SplitDelimiterBehavior.
enum class MatchBecomes { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// Reads the member "behavior"; `otherwise` if there is none.
MatchBecomes read_behavior(const JsonPlace& description, const char* otherwise);

// Appends the ranges that `parts` become, moved by `offset`. Empty ones are left out.
void merge_parts(const std::vector<PatternPart>& parts, MatchBecomes becomes, size_t offset,
                 std::vector<TextRange>& ranges);

// Cuts the pieces of `text` where `find(piece, parts)` finds matches (see TextPattern::find).
template <class Find>
void cut_pieces(TextPieces& text, MatchBecomes becomes, const Find& find) {
  std::vector<TextRange> cut;
  std::vector<PatternPart> parts;
  for (const auto& piece : text.pieces) {
    parts.clear();
    find(text.text_of(piece), parts);
    merge_parts(parts, becomes, piece.begin, cut);
  }
  text.pieces = std::move(cut);
}

// The parts of `text`, each of them a character.
template <class Matches>
void find_characters(std::string_view text, const Matches& matches, std::vector<PatternPart>& parts) {
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    const bool hit = matches(next_code_point(text, end));
    if (!hit && !parts.empty() && !parts.back().matches)
      parts.back().range.end = end;
    else
      parts.push_back({{begin, end}, hit});
  }
}

// For the table in pre_tokenizers.cpp.
std::unique_ptr<PreTokenizer> make_metaspace(const JsonPlace& description);
std::unique_ptr<PreTokenizer> make_byte_level(const JsonPlace& description);

}  // namespace collie
