#include "plan/data_report.hpp"

#include "io/dataset.hpp"
#include "tests/catch.hpp"

using namespace collie;

TEST_CASE("the report of data counts documents and lengths, and shows which text is learnt", "[plan]") {
  const auto ids = [](const std::string& text) { return byte_tokenizer()->encode(text, false); };
  std::vector<Document> documents = {{ids("ask: yes no"), {{5, 8}}},
                                     document_from(ids("abcd"), 0),
                                     document_from({}, 0),
                                     document_from(ids("x"), 0)};
  const auto data =
      std::make_shared<const Dataset>(std::vector<DocumentBlock>{make_block(documents)}, "data.train");
  const SequenceOrder order(data, {4, Packing::samples, false, 1, TooLong::drop});
  const DataReport report = make_data_report(order, *byte_tokenizer(), 2);
  CHECK(report.documents == 3);  // what is dropped counts as that alone
  CHECK(report.tokens == 5);
  CHECK(report.targets == 3);
  CHECK(report.sequences == 1);
  CHECK(report.dropped == 1);
  CHECK(report.cut == 0);
  CHECK(report.shortest == 0);
  CHECK(report.longest == 4);
  CHECK(report.lengths == std::vector<int64_t>{2, 0, 1});
  REQUIRE(report.samples.size() == 2);
  CHECK(report.samples[0].number == 2);
  CHECK(report.samples[1].number == 3);
  const SequenceOrder cutting(data, {4, Packing::samples, false, 1, TooLong::cut});
  const DataReport all = make_data_report(cutting, *byte_tokenizer(), 2);
  CHECK(all.documents == 4);
  CHECK(all.tokens == 16);
  const std::string text = to_text(all, false);
  INFO(text);
  CHECK(text.find(
            "data.train: 4 documents, 16 tokens, 6 targets; 4 sequences an epoch (data.packing: samples)") ==
        0);
  CHECK(text.find("       8 to       15 tokens          1  ####") != std::string::npos);
  CHECK(text.find("document 1: 11 tokens, 3 targets\nask: ⟦yes⟧ no\n") != std::string::npos);
  CHECK(to_text(all, true).find("\x1b[90mask: \x1b[0myes\x1b[90m no\x1b[0m") != std::string::npos);
  CHECK(to_json(all)["samples"][0]["runs"][1]["text"] == "yes");
  CHECK(to_json(all)["lengths"][2]["from"] == 8);
}
