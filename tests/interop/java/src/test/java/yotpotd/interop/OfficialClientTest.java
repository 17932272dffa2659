package yotpotd.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.treasuredata.client.TDClient;
import com.treasuredata.client.TDClientBuilder;
import com.treasuredata.client.TDClientHttpConflictException;
import com.treasuredata.client.TDClientHttpException;
import com.treasuredata.client.TDClientHttpNotFoundException;
import com.treasuredata.client.model.TDApiKey;
import com.treasuredata.client.model.TDBulkImportSession;
import com.treasuredata.client.model.TDBulkImportSession.ImportStatus;
import com.treasuredata.client.model.TDColumn;
import com.treasuredata.client.model.TDColumnType;
import com.treasuredata.client.model.TDTable;
import com.treasuredata.client.model.TDTableType;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePacker;
import org.msgpack.core.MessageUnpacker;
import org.msgpack.value.Value;
import org.msgpack.value.ValueFactory;

/** The calls that Digdag and its plugins make, with the client that they use. */
@Timeout(60)
final class OfficialClientTest {
    private static final Duration POLL = Duration.ofMillis(200);
    private static final AtomicInteger NAMES = new AtomicInteger();

    @TempDir
    static Path spool;

    @TempDir
    Path parts;

    private static Sandbox sandbox;
    private static TDClient client;
    private static String database;

    @BeforeAll
    static void start() throws Exception {
        sandbox = new Sandbox(spool);
        client = connect(sandbox.get("TD_API_KEY"));
        database = sandbox.get("TD_DATABASE");
    }

    @AfterAll
    static void stopsAndLeavesNothing() throws Exception {
        client.close();
        try (Sandbox ended = sandbox) {
            assertEquals(0, ended.stop());
        }
        try (Stream<Path> left = Files.list(spool)) {
            assertEquals(List.of(), left.toList());
        }
    }

    private static TDClient connect(String key) {
        URI address = sandbox.treasureData();
        return new TDClientBuilder(false)
                .setEndpoint(address.getHost())
                .setPort(address.getPort())
                .setUseSSL(false)
                .setApiKey(key)
                .setRetryLimit(0)
                .build();
    }

    @Test
    void keysAreValidated() {
        TDApiKey key = client.validateApiKey();
        assertNotNull(key.getKeyType());
        assertTrue(key.getAccountId() > 0);
        assertTrue(key.getUserId() > 0);
        assertNotNull(client.getUser().getEmail());

        TDClient stranger = connect("1/" + "f".repeat(40));
        TDClientHttpException refused = assertThrows(TDClientHttpException.class, stranger::validateApiKey);
        assertEquals(401, refused.getStatusCode());
        assertNotNull(stranger.serverStatus(), "needs no key");
    }

    @Test
    void databasesAndTablesAreCreatedOnce() {
        String fresh = name("database");
        client.createDatabase(fresh);
        assertThrows(TDClientHttpConflictException.class, () -> client.createDatabase(fresh));
        client.createDatabaseIfNotExists(fresh);
        assertTrue(client.listDatabaseNames().contains(fresh));
        assertEquals(fresh, client.showDatabase(fresh).getName());
        assertTrue(client.existsDatabase(fresh));

        String table = name("table");
        assertFalse(client.existsTable(fresh, table));
        client.createTable(fresh, table);
        assertThrows(TDClientHttpConflictException.class, () -> client.createTable(fresh, table));
        assertThrows(TDClientHttpNotFoundException.class, () -> client.createTable(name("absent"), table));
        TDTable created = client.showTable(fresh, table);
        assertEquals(table, created.getName());
        assertEquals(TDTableType.LOG, created.getType());
        assertEquals(0, created.getRowCount());
        assertEquals(List.of(), created.getColumns());
        assertEquals(List.of(table), client.listTables(fresh).stream().map(TDTable::getName).toList());
        client.deleteTable(fresh, table);
        assertThrows(TDClientHttpNotFoundException.class, () -> client.deleteTable(fresh, table));
        assertThrows(TDClientHttpNotFoundException.class, () -> client.showTable(fresh, table));
    }

    @Test
    void columnsAreAppendedAndKeepTheirType() {
        String table = table();
        client.appendTableSchema(database, table, List.of(new TDColumn("json_response", TDColumnType.STRING)));
        List<TDColumn> columns = client.showTable(database, table).getColumns();
        assertEquals(List.of("json_response"), columns.stream().map(TDColumn::getName).toList());
        assertEquals(TDColumnType.STRING, columns.get(0).getType());
        TDClientHttpException refused = assertThrows(
                TDClientHttpException.class,
                () -> client.appendTableSchema(
                        database, table, List.of(new TDColumn("json_response", TDColumnType.LONG))));
        assertEquals(422, refused.getStatusCode());
    }

    @Test
    void aSessionGoesFromCreateToDeleteThroughShowAlone() throws Exception {
        String table = table();
        String session = name("session");
        client.createBulkImportSession(session, database, table);
        assertThrows(
                TDClientHttpConflictException.class, () -> client.createBulkImportSession(session, database, table));
        TDBulkImportSession created = client.getBulkImportSession(session);
        assertEquals(session, created.getName());
        assertEquals(database, created.getDatabaseName());
        assertEquals(table, created.getTableName());
        assertEquals(ImportStatus.UPLOADING, created.getStatus());
        assertFalse(created.isUploadFrozen());
        assertNull(created.getJobId());

        List<Value> rows = IntStream.range(0, 2_000).mapToObj(OfficialClientTest::row).toList();
        client.uploadBulkImportPart(session, "first", part(rows.subList(0, 1_200)));
        client.uploadBulkImportPart(session, "second", part(rows.subList(1_200, 2_000)));
        client.uploadBulkImportPart(session, "third", part(rows.subList(0, 1)));
        assertEquals(List.of("first", "second", "third"), client.listBulkImportParts(session));
        client.deleteBulkImportPart(session, "third");
        assertEquals(List.of("first", "second"), client.listBulkImportParts(session));
        assertTrue(client.listBulkImportSessions().stream().anyMatch(found -> found.getName().equals(session)));

        client.freezeBulkImportSession(session);
        assertTrue(client.getBulkImportSession(session).isUploadFrozen());
        client.unfreezeBulkImportSession(session);
        assertFalse(client.getBulkImportSession(session).isUploadFrozen());
        client.freezeBulkImportSession(session);
        client.performBulkImportSession(session);
        TDBulkImportSession ready = awaitStatus(session, ImportStatus.READY);
        assertNotNull(ready.getJobId());
        assertEquals(2_000, ready.getValidRecords());
        assertEquals(2, ready.getValidParts());
        assertEquals(0, ready.getErrorRecords());
        assertEquals(0, ready.getErrorParts());
        assertFalse(ready.hasErrorOnPerform());
        assertEquals(List.of(), errorRecords(session));
        assertEquals(List.of(), sandbox.rows(database, table), "nothing is visible before the commit");

        client.commitBulkImportSession(session);
        awaitStatus(session, ImportStatus.COMMITTED);
        client.deleteBulkImportSession(session);
        assertThrows(TDClientHttpNotFoundException.class, () -> client.getBulkImportSession(session));
        assertThrows(TDClientHttpNotFoundException.class, () -> client.deleteBulkImportSession(session));
        assertSameRows(rows, sandbox.rows(database, table));
        assertEquals(2_000, client.showTable(database, table).getRowCount());
    }

    @Test
    void badRecordsAndPartsAreCountedAndTold() throws Exception {
        String table = table();
        String session = name("bad");
        client.createBulkImportSession(session, database, table);
        Value bad = map("no_time", ValueFactory.newString("at all"));
        client.uploadBulkImportPart(session, "mixed", part(List.of(row(0), bad, row(1))));
        client.uploadBulkImportPart(session, "corrupt", Files.writeString(parts.resolve("corrupt"), "not gzip").toFile());
        client.freezeBulkImportSession(session);
        client.performBulkImportSession(session);
        TDBulkImportSession ready = awaitStatus(session, ImportStatus.READY);
        assertEquals(2, ready.getValidRecords());
        assertEquals(1, ready.getErrorRecords());
        assertEquals(1, ready.getErrorParts());
        assertTrue(ready.hasErrorOnPerform());
        List<Value> told = errorRecords(session);
        assertEquals(1, told.size());
        assertTrue(told.get(0).toJson().contains("at all"), "the error report contains the record itself");
        client.deleteBulkImportSession(session);
        assertEquals(List.of(), sandbox.rows(database, table));
    }

    @Test
    void renameReplacesOnlyWhenToldTo() throws Exception {
        String source = table();
        String target = table();
        load(source, List.of(row(1)));
        load(target, List.of(row(2)));
        assertThrows(TDClientHttpConflictException.class, () -> client.renameTable(database, source, target));
        assertEquals(List.of(row(2)), sandbox.rows(database, target));

        client.renameTable(database, source, target, true);
        assertEquals(List.of(row(1)), sandbox.rows(database, target));
        assertFalse(client.existsTable(database, source));
        assertThrows(
                TDClientHttpNotFoundException.class, () -> client.renameTable(database, source, name("anything")));
    }

    @Test
    void swapExchangesTwoTables() throws Exception {
        String one = table();
        String two = table();
        load(one, List.of(row(1)));
        client.swapTables(database, one, two);
        assertEquals(List.of(), sandbox.rows(database, one));
        assertEquals(List.of(row(1)), sandbox.rows(database, two));
    }

    /** Reports only the first row that differs; a message with two thousand rows is of no use. */
    private static void assertSameRows(List<Value> expected, List<Value> stored) {
        assertEquals(expected.size(), stored.size(), "number of rows");
        for (int row = 0; row < expected.size(); row++) {
            assertEquals(expected.get(row), stored.get(row), "row " + row);
        }
    }

    private static String name(String prefix) {
        return prefix + "_java_" + NAMES.incrementAndGet();
    }

    private static String table() {
        String table = name("table");
        client.createTable(database, table);
        return table;
    }

    private void load(String table, List<Value> rows) throws Exception {
        String session = name("load");
        client.createBulkImportSession(session, database, table);
        client.uploadBulkImportPart(session, "part", part(rows));
        client.freezeBulkImportSession(session);
        client.performBulkImportSession(session);
        awaitStatus(session, ImportStatus.READY);
        client.commitBulkImportSession(session);
        awaitStatus(session, ImportStatus.COMMITTED);
        client.deleteBulkImportSession(session);
    }

    /** Waits as Digdag does: polls only the session, never its job. The test's timeout ends an endless wait. */
    private static TDBulkImportSession awaitStatus(String session, ImportStatus wanted) throws InterruptedException {
        while (true) {
            TDBulkImportSession seen = client.getBulkImportSession(session);
            if (seen.getStatus() == wanted) {
                return seen;
            }
            Thread.sleep(POLL.toMillis());
        }
    }

    private static List<Value> errorRecords(String session) {
        // The declared type selects the overload that is not deprecated.
        Function<InputStream, List<Value>> unpack = OfficialClientTest::unpackGzip;
        return client.getBulkImportErrorRecords(session, unpack);
    }

    private static List<Value> unpackGzip(InputStream gzip) {
        List<Value> values = new ArrayList<>();
        try (MessageUnpacker stream = MessagePack.newDefaultUnpacker(new GZIPInputStream(gzip))) {
            while (stream.hasNext()) {
                values.add(stream.unpackValue());
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return values;
    }

    /** A row with a value of every kind. */
    private static Value row(int number) {
        return ValueFactory.newMapBuilder()
                .put(ValueFactory.newString("time"), ValueFactory.newInteger(1_700_000_000L + number))
                .put(ValueFactory.newString("number"), ValueFactory.newInteger(Long.MIN_VALUE + number))
                .put(ValueFactory.newString("text"), ValueFactory.newString("Zoë 東京 😀 " + "x".repeat(number % 300)))
                .put(ValueFactory.newString("float"), ValueFactory.newFloat(number / 3.0))
                .put(ValueFactory.newString("flag"), ValueFactory.newBoolean(number % 2 == 0))
                .put(ValueFactory.newString("nothing"), ValueFactory.newNil())
                .put(ValueFactory.newString("list"), ValueFactory.newArray(ValueFactory.newInteger(number)))
                .build();
    }

    private static Value map(String key, Value value) {
        return ValueFactory.newMapBuilder().put(ValueFactory.newString(key), value).build();
    }

    /** A file of the given rows in the format that bulk import accepts. */
    private File part(List<Value> rows) throws IOException {
        Path path = parts.resolve("part" + NAMES.incrementAndGet());
        try (MessagePacker packer = MessagePack.newDefaultPacker(new GZIPOutputStream(Files.newOutputStream(path)))) {
            for (Value row : rows) {
                packer.packValue(row);
            }
        }
        return path.toFile();
    }
}
