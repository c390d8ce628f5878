#include "io/tokenizers/added_tokens.hpp"

#include <algorithm>

#include "io/tokenizers/models/vocabulary.hpp"
#include "io/unicode.hpp"
#include "io/utf8.hpp"

namespace collie {

namespace {

int32_t checked_id(const JsonPlace& place, int64_t id) {
  if (id < 0 || id >= most_token_ids) place.refuse(fmt::format("id {} is out of range", id));
  return static_cast<int32_t>(id);
}

}  // namespace

int32_t checked_token_id(const JsonPlace& place) {
  return checked_id(place, place.integer());
}

AddedToken read_added_token(const JsonPlace& entry, int64_t id) {
  AddedToken token;
  token.id = checked_id(entry, id);
  token.content = entry["content"].text();
  token.special = entry.flag("special", false);
  token.single_word = entry.flag("single_word", false);
  token.lstrip = entry.flag("lstrip", false);
  token.rstrip = entry.flag("rstrip", false);
  token.normalized = entry.flag("normalized", !token.special);
  return token;
}

std::vector<AddedToken> read_added_tokens(const JsonPlace& list) {
  std::vector<AddedToken> tokens;
  for (size_t i = 0; i < list.size(); ++i)
    tokens.push_back(read_added_token(list[i], checked_token_id(list[i]["id"])));
  return tokens;
}

void AddedTokenFinder::add(const AddedToken& token, const std::string& pattern) {
  if (pattern.empty()) return;
  begins_[static_cast<unsigned char>(pattern.front())] = true;
  size_t node = 0;
  for (const char byte : pattern) {
    const auto [entry, added] = nodes_[node].next.emplace(byte, static_cast<int32_t>(nodes_.size()));
    node = static_cast<size_t>(entry->second);
    if (added) nodes_.emplace_back();
  }
  if (nodes_[node].token >= 0) return;  // the first of the same pattern wins
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

AddedTokenFinder::Match AddedTokenFinder::longest_at(std::string_view text, size_t begin) const {
  Match match{begin, -1};
  size_t node = 0;
  for (size_t position = begin; position < text.size(); ++position) {
    const auto entry = nodes_[node].next.find(text[position]);
    if (entry == nodes_[node].next.end()) break;
    node = static_cast<size_t>(entry->second);
    if (nodes_[node].token >= 0) match = {position + 1, nodes_[node].token};
  }
  return match;
}

namespace {

bool word_before(std::string_view text, size_t position) {
  if (position == 0) return false;
  size_t start = previous_code_point(text, position);
  return is_word_character(next_code_point(text, start));
}

bool word_after(std::string_view text, size_t position) {
  return position < text.size() && is_word_character(next_code_point(text, position));
}

size_t space_start(std::string_view text, size_t position) {
  while (position > 0) {
    const size_t before = previous_code_point(text, position);
    size_t start = before;
    if (!is_white_space(next_code_point(text, start))) break;
    position = before;
  }
  return position;
}

size_t space_end(std::string_view text, size_t position) {
  while (position < text.size()) {
    size_t after = position;
    if (!is_white_space(next_code_point(text, after))) break;
    position = after;
  }
  return position;
}

}  // namespace

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  if (!tokens_.empty()) {
    for (size_t position = 0; position < text.size();) {
      if (!begins_[static_cast<unsigned char>(text[position])]) {
        ++position;
        continue;
      }
      const Match match = longest_at(text, position);
      if (match.token < 0) {
        ++position;
        continue;
      }
      const AddedToken& token = tokens_[static_cast<size_t>(match.token)];
      size_t begin = position, end = match.end;
      position = match.end;
      if (token.single_word && (word_before(text, begin) || word_after(text, end))) continue;
      if (token.lstrip) begin = std::max(space_start(text, begin), done);
      if (token.rstrip) end = space_end(text, end);
      if (done < begin) parts.push_back({done, begin, -1});
      parts.push_back({begin, end, token.id});
      done = end;
    }
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
  return parts;
}

}  // namespace collie
