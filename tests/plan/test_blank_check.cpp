// What data of a model that fills in blanks must be.
#include "plan/blank_check.hpp"

#include "tests/catch.hpp"
#include "tests/models/messages.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const BlankTokens blank_tokens{9, 8, 7};  // start, gmask, mask

SequenceOrder blank_order(const std::vector<Document>& documents, Packing packing = Packing::samples,
                          TooLong too_long = TooLong::cut) {
  auto data =
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(documents)}, "data.train");
  return SequenceOrder(std::move(data), {8, packing, true, 1, too_long});
}

std::string blank_refusal(const SequenceOrder& order) {
  Config config;
  config.data.packing = "true";
  return message_of([&] { check_blanks(blank_tokens, order, config); });
}

const Document good_document = document_from({1, 2, 8, 9, 3, 4}, 4);

}  // namespace

TEST_CASE("documents with a blank and targets behind their context are taken", "[blanks]") {
  check_blanks(blank_tokens, blank_order({good_document, document_from({7, 9, 1}, 1), good_document}), {});
  check_blanks(blank_tokens, blank_order({good_document, document_from({1, 8, 9, 2}, 2)}, Packing::none), {});
  check_blanks({}, blank_order({document_from({1, 2, 3}, 0)}, Packing::stream), {});  // another model
}

TEST_CASE("a document without a blank, or without a start token behind it, is refused before the start",
          "[blanks]") {
  for (const std::vector<int32_t>& wrong :
       {std::vector<int32_t>{1, 2, 3, 4}, {1, 8, 2, 3}, {1, 2, 9, 3}, {1, 9, 8, 3}, {1, 8, 2, 9}})
    check_says(blank_refusal(blank_order({good_document, good_document, document_from(wrong, 3)})),
               {"data.train", "document 2 (from 0)", "4 tokens", "8 (gmask_token_id)", "7 (mask_token_id)",
                "9 (bos_token_id)"});
}

TEST_CASE("a target in a context is refused, as the tokens before it see it", "[blanks]") {
  check_says(blank_refusal(blank_order({good_document, document_from({1, 2, 8, 9, 3}, 0)})),
             {"document 1 (from 0)", "token 1 is a target", "first 3 are the context", "from token 3 on"});
  check_says(blank_refusal(blank_order({document_from({1, 2, 8, 9, 3}, 2)})),
             {"document 0", "token 2 is a target"});
}

TEST_CASE("documents of contexts are not cut", "[blanks]") {
  check_says(blank_refusal(blank_order({good_document, good_document}, Packing::stream)),
             {"data.packing: true", "samples or false is right"});
  const Document long_one = document_from({1, 2, 3, 4, 5, 6, 1, 8, 9, 3, 4}, 9);
  check_says(blank_refusal(blank_order({good_document, long_one})),
             {"1 documents are longer", "data.sequence_length, 8"});
  check_blanks(blank_tokens, blank_order({good_document, long_one}, Packing::samples, TooLong::drop), {});
}

TEST_CASE("a prompt without a blank is refused", "[blanks]") {
  check_blank_of_prompt(blank_tokens, std::vector<int32_t>{1, 8, 9});
  check_blank_of_prompt({}, std::vector<int32_t>{1});
  check_says(message_of([&] {
               check_blank_of_prompt(blank_tokens, std::vector<int32_t>{1, 8});
             }),
             {"--prompt", "9 (bos_token_id)"});
}
