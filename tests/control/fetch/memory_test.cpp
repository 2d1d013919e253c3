// Memory that runs out while an answer is published costs that answer, and nothing else.
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/failing_memory.hpp"

namespace millrace::control {
namespace {

using support::FailingMemory;

class MemoryTest : public FetchTest {
  protected:
    /// So large that it is not built on the stack.
    Answer answer_of(const std::string& ttl) {
        auto query = build_query(a, 7, a.name.bytes());
        ReplySpec spec{.answer = {"a.com. " + ttl + " IN CNAME b.com."}};
        for (int i = 1; i <= 60; ++i)
            spec.answer.push_back("b.com. " + ttl + " IN A 1.1.1." + std::to_string(i));
        return *parse_reply(make_reply(query, spec), a, 0, clock.now);
    }
};

TEST_F(MemoryTest, AnAnswerForWhichThereIsNoneIsServfailForThoseWhoWait) {
    for (const char* ttl : {"60", "0"}) {
        bool has_failed = true;
        for (cache::Generation g = 1; has_failed; ++g) {
            SCOPED_TRACE(g);
            cache::Generation generation = g + (*ttl == '0' ? 1000 : 0);
            ASSERT_TRUE(table.start(a, hash(a), generation));
            Answer answer = answer_of(ttl);
            std::optional<Published> published;
            {
                FailingMemory memory(FailingMemory::Of::this_thread, g);
                published = publisher.publish(a, hash(a), answer, {generation, 0}, Time::max());
                has_failed = memory.has_failed();
            }
            bool is_there = published->entry != publisher.servfail();
            EXPECT_EQ(published->entry->rcode, is_there ? 0 : 2);
            EXPECT_EQ(published->verdict == cache::Publication::accepted, is_there && *ttl != '0');
            EXPECT_TRUE(has_failed || is_there);
            table.finish(a, hash(a), generation);
        }
    }
    EXPECT_GT(publisher.counters().full, 0u) << "it is counted";
}

} // namespace
} // namespace millrace::control
