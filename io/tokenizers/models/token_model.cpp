#include "io/tokenizers/models/token_model.hpp"

#include "io/tokenizers/models/models.hpp"

namespace collie {

namespace {

// The oldest files have no type. Then the keys tell, as for the library.
std::string type_of(const JsonPlace& model) {
  if (const auto type = model.find("type")) return type->text();
  if (model.find("merges")) return "BPE";
  if (model.find("continuing_subword_prefix")) return "WordPiece";
  if (model.value().is_object() && model.value().contains("unk_id")) return "Unigram";
  return model.find("vocab") && model["vocab"].value().is_object() && model.find("unk_token") ? "WordLevel"
                                                                                              : "BPE";
}

}  // namespace

std::unique_ptr<TokenModel> make_token_model(const JsonPlace& model) {
  const std::string type = type_of(model);
  if (type == "BPE") return make_bpe(model);
  if (type == "Unigram") return make_unigram(model);
  if (type == "WordLevel") return make_word_level(model);
  if (type == "WordPiece") return make_word_piece(model);
  model["type"].refuse(fmt::format(
      "the model '{}' is not supported; supported: BPE, Unigram, WordLevel, WordPiece", shortened(type)));
}

}  // namespace collie
